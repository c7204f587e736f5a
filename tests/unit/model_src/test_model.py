import io
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from model import Model
from tests.container_tree import striped


@pytest.fixture(scope="module", autouse=True)
def _small_dictionary() -> Iterator[None]:
    """Learning the dictionary takes nearly all of the time; the job of the fixture `trained` learns a whole one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model.DICTIONARY_PATCHES", (1_000, 1_000))
        patch.setattr("model.WORDS", 100)
        yield


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.train(*striped(2, 16, seed=0), num_classes=2)


def test_learns_a_trivial_task_and_is_sure_of_it(model: Model) -> None:
    images, labels = striped(2, 8, seed=1)
    probabilities = model.predict(images)
    assert probabilities.argmax(axis=1).tolist() == labels.tolist()
    assert probabilities.max(axis=1).min() > 0.9


def test_learns_three_classes() -> None:
    images, labels = striped(3, 9, seed=1)
    probabilities = Model.train(*striped(3, 24, seed=0), num_classes=3).predict(images)
    assert probabilities.shape == (9, 3)
    assert probabilities.argmax(axis=1).tolist() == labels.tolist()


def test_the_confidence_is_low_if_nothing_can_be_learned() -> None:
    images, labels = striped(2, 16, seed=0)
    shuffled = np.random.default_rng(0).permutation(labels)
    probabilities = Model.train(images, shuffled, num_classes=2).predict(striped(2, 8, seed=1)[0])
    assert probabilities.max() < 0.9


def test_probabilities_sum_to_one(model: Model) -> None:
    flat = np.stack([np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)])
    probabilities = model.predict(np.concatenate([flat, striped(2, 6, seed=2)[0]]))
    assert probabilities.shape == (8, 2)
    assert probabilities.min() >= 0
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_a_mirrored_image_gets_the_same_prediction(model: Model) -> None:
    images, _ = striped(2, 6, seed=3)
    np.testing.assert_allclose(model.predict(images[:, :, ::-1]), model.predict(images), atol=0.02)


def test_the_same_images_give_the_same_model(model: Model) -> None:
    again = Model.train(*striped(2, 16, seed=0), num_classes=2)
    images, _ = striped(2, 6, seed=3)
    np.testing.assert_array_equal(again.predict(images), model.predict(images))


def test_a_saved_model_predicts_exactly_the_same(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model.npz")
    images, _ = striped(2, 6, seed=3)
    np.testing.assert_array_equal(
        Model.load(tmp_path / "model.npz").predict(images), model.predict(images), strict=True
    )


class Evil:
    """What must not come to life when a file is read."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return pytest.fail, ("a pickle was run",)


def npz(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, allow_pickle=True, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"PK\x03\x04 torn",
        pickle.dumps(Evil()),
        npz(centroids=np.array([Evil()], dtype=object)),
        npz(other=np.zeros(3)),
    ],
    ids=["empty", "image", "torn", "pickle", "pickle inside", "other arrays"],
)
def test_a_foreign_file_is_refused_without_running_it(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.npz is no model of the local trainer"):
        Model.load(path)


@pytest.mark.parametrize("damage", [b"\x00", bytes(64), b"\xff" * 64], ids=["a byte", "zeros", "ones"])
def test_a_damaged_model_is_refused(model: Model, tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "model.npz"
    model.save(path)
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + damage + content[middle + len(damage) :])
    with pytest.raises(ValueError, match="is no model"):
        Model.load(path)


@pytest.mark.parametrize(
    ("labels", "num_classes"), [([0, 0, 0], 2), ([0, 1, 2], 2), ([0, 1, -1], 2), ([0, 0, 0], 1), ([0, 1], 2)]
)
def test_labels_that_do_not_fit_are_refused(labels: list[int], num_classes: int) -> None:
    with pytest.raises(ValueError, match="label"):
        Model.train(striped(2, 3, seed=0)[0], np.array(labels), num_classes=num_classes)


def test_other_shapes_are_refused(model: Model) -> None:
    with pytest.raises(ValueError, match="resize"):
        model.predict(np.zeros((1, 64, 64, 3), np.uint8))
