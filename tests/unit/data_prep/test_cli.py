import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep import __main__ as cli
from data_prep import dataset
from data_prep.cifar import write_archive
from data_prep.sample import generate_archive


@pytest.fixture(autouse=True)
def _small_and_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host of CIFAR-100 cannot be reached, archives are small, and everything is written below tmp_path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dataset, "PROJECT_ROOT", tmp_path)

    def fetch(*, classes: tuple[str, ...], **_: object) -> Path:
        return generate_archive(tmp_path / "drawn.tar.gz", classes=classes, train_per_class=2, test_per_class=1)

    monkeypatch.setattr("data_prep.fetch.fetch_archive", fetch)
    monkeypatch.setattr("data_prep.sample.generate_archive", lambda path, **_: path)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(list(arguments))
    return int(ended.value.code or 0)


@pytest.mark.parametrize("command", ["fetch", "build", "import", "sample", "validate"])
def test_the_example_of_each_help_runs(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    (example,) = [line for line in capsys.readouterr().out.splitlines() if "Example: " in line]
    assert run("build", "--quiet") == 0  # what validate checks
    shutil.copytree(tmp_path / "data/dev", tmp_path / "scones-unlimited")  # what import takes
    arguments = shlex.split(example.partition("python -m data_prep ")[2])
    assert arguments[0] == command
    assert run(*arguments) == 0


def test_build_and_validate_print_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("build", "--json") == 0
    built = json.loads(capsys.readouterr().out)
    assert built["splits"]["train"]["counts"] == {"bicycle": 2, "motorcycle": 2}
    assert run("validate", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["data_digest"], report["problems"]) == (built["data_digest"], [])


def test_a_tiny_class_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)

    def split(bicycles: int, motorcycles: int) -> tuple[list[str], list[int], Any]:
        labels = [0] * bicycles + [1] * motorcycles
        names = [f"{number}.png" for number in range(len(labels))]
        return names, labels, rng.integers(0, 256, (len(labels), 32, 32, 3), np.uint8)

    archive = tmp_path / "own.tar.gz"
    splits = {"train": split(7, 90), "test": split(9, 90)}
    write_archive(archive, class_names=("bicycle", "motorcycle"), splits=splits)
    warning = "Warning: train has 7 images of 'bicycle' and 90 of 'motorcycle'"
    assert run("build", "--archive", str(archive)) == 0
    said = capsys.readouterr().err
    assert warning in said
    assert "test has" not in said  # a tenth is enough
    assert run("validate") == 0
    assert warning in capsys.readouterr().err


def test_validate_ends_with_1_if_there_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("build")
    next((tmp_path / "data/dev/train").iterdir()).write_bytes(b"")
    assert run("validate") == 1
    assert "neither PNG nor JPEG, but empty" in capsys.readouterr().out


def test_validate_counts_equal_problems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("build")
    for image in (tmp_path / "data/dev/train").iterdir():
        image.write_bytes(b"")
    capsys.readouterr()
    assert run("validate") == 1
    found = capsys.readouterr().out.splitlines()
    assert found[0].startswith("4 files, train/")
    assert found[1:] == [
        "train_lst/train.lst: has no good image",
        f"{tmp_path / 'data/dev'}: 0 train, 2 test images are good, 2 labels, 5 problems",
    ]


def test_validate_suggests_import_for_the_folder_of_the_original(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("build")
    folder = tmp_path / "data/dev"
    (folder / "manifest.json").unlink()
    for split in ("train", "test"):
        text = (folder / f"{split}_lst/{split}.lst").read_text()
        (folder / f"{split}.lst").write_text(text.replace("\t1\t", "\t48\t").replace("\t0\t", "\t8\t"))
        shutil.rmtree(folder / f"{split}_lst")
    capsys.readouterr()
    assert run("validate") == 1
    said = capsys.readouterr()
    assert "train.lst: has the labels 8, 48, but bicycle, motorcycle need each of 0 to 1" in said.out
    assert f"`python -m data_prep import {folder}` makes a data set of it" in said.err


def test_another_archive_is_taken_with_a_warning_that_names_its_digest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("build")
    assert run("fetch", "--archive", str(tmp_path / "drawn.tar.gz")) == 0
    output = capsys.readouterr()
    digest = output.out.split()[-1]
    assert f"is not the official archive; its sha256 is {digest}" in output.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build", "--env", "nope"], "environment 'nope' is not in cdk.json"),
        (["build", "--archive", "absent"], "absent: no such file"),
        (["validate", "absent"], "absent: no such folder"),
    ],
)
def test_a_failure_is_one_line_and_exit_code_1(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("Error: ")
    assert message in output.err
    assert output.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["build", "--nope"], ["nope"], ["build", "--max-rejected-share", "2"], ["sample"]]
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    assert run(*arguments) == 2
