"""The training job's entry point, in the file tree of its container."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import train
from model import Model
from tests.container_tree import CODE, png, striped, write_job


def test_a_job_ends_with_its_accuracy_in_the_log(trained: Path) -> None:
    assert re.findall("validation:accuracy=([0-9.]+)", (trained / "log").read_text()) == ["1.0000"]
    assert not (trained / "output").exists()


def test_the_artifact_is_the_model_and_the_code_that_serves_it(trained: Path) -> None:
    artifact = trained / "model"
    assert Model.load(artifact / "model.npz").coefficients.shape == (8, 2)
    code = {path.name: path.read_bytes() for path in (artifact / "code").iterdir()}
    assert code == {path.name: path.read_bytes() for path in CODE.glob("*.py")}


def hyperparameters(**values: str | None) -> Callable[[Path], object]:
    def change(root: Path) -> None:
        path = root / "input" / "config" / "hyperparameters.json"
        changed = {**json.loads(path.read_text()), **values}
        path.write_text(json.dumps({name: value for name, value in changed.items() if value is not None}))

    return change


def file(path: str, content: bytes) -> Callable[[Path], object]:
    return lambda root: (root / "input" / "data" / path).write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (hyperparameters(num_classes=None), "hyperparameter 'num_classes' is required"),
        (hyperparameters(num_training_samples="many"), "'num_training_samples' must be a whole number, not 'many'"),
        (
            hyperparameters(epochs="5"),
            "hyperparameter 'epochs' is unknown: there are num_classes and num_train",
        ),
        (hyperparameters(num_training_samples="5"), "num_training_samples is 5, the channel train has 8 images"),
        (hyperparameters(num_classes="3"), "the labels are [0, 1], but 3 classes need each"),
        (file("train/3.png", b"no image"), r"channel train: train.lst, line 4, '3\t1\t3.png': not a readable image"),
        (file("train/0.png", png(striped(2, 1, seed=0)[0][0])[:90]), "line 1, "),
        (file("train_lst/train.lst", b"0\t1\tabsent.png"), "channel train: train.lst, line 1"),
        (file("train_lst/train.lst", b"0 1 0.png"), "channel train: train.lst, line 1, '0 1 0.png': not enough values"),
        (file("train_lst/train.lst", b"0\tcat\t0.png"), "could not convert string to float: 'cat'"),
        (file("validation_lst/validation.lst", b""), "channel validation_lst has no .lst file that names an image"),
    ],
)
def test_a_job_that_cannot_train_has_a_failure_reason_of_one_line(
    spoil: Callable[[Path], object], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_job(tmp_path)
    spoil(root)
    assert train.main(root) == 1
    failure = (root / "output" / "failure").read_text()
    assert reason in failure
    assert "\n" not in failure
    assert capsys.readouterr().err == f"{failure}\n"
    assert not (root / "model").exists()
