from pathlib import Path

import numpy as np
import pytest

from data_prep.cifar import read_archive
from data_prep.errors import DataSetError
from data_prep.sample import draw_image, generate_archive, synthetic_archive
from stacks.shared.cifar_100 import CLASS_NAMES


def test_the_synthetic_archive_is_in_the_format_of_cifar_100(tmp_path: Path) -> None:
    path = generate_archive(tmp_path / "a", classes=("bicycle", "tank"), train_per_class=4, test_per_class=2)
    archive = read_archive(path)
    assert archive.is_synthetic
    assert archive.class_names == CLASS_NAMES
    assert (CLASS_NAMES.index("bicycle"), CLASS_NAMES.index("motorcycle")) == (8, 48)
    assert sorted(archive.splits["train"].labels.tolist()) == [8] * 4 + [CLASS_NAMES.index("tank")] * 4
    assert len(set(archive.splits["train"].filenames)) == 8


def test_equal_seeds_draw_equal_bytes_and_others_do_not(tmp_path: Path) -> None:
    first, same, other = (
        generate_archive(
            tmp_path / name, classes=("bicycle", "motorcycle"), train_per_class=2, test_per_class=1, seed=seed
        ).read_bytes()
        for name, seed in (("first", 1), ("same", 1), ("other", 2))
    )
    assert first == same
    assert first != other


@pytest.mark.parametrize(("name", "other"), [("bicycle", "motorcycle"), ("apple", "worm"), ("orange", "orchid")])
def test_images_of_a_class_vary_and_differ_from_another_class(name: str, other: str) -> None:
    images, others = (
        np.stack([draw_image(label, np.random.default_rng(seed)) for seed in range(20)]).astype(float)
        for label in (name, other)
    )
    assert len(np.unique(images.reshape(20, -1), axis=0)) == 20
    # The same seed draws the same background, and another shape
    assert abs(images.mean(axis=0) - others.mean(axis=0)).max() > 10


def test_no_synthetic_image_exists_of_an_unknown_class(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="class 'scone' is not one of CIFAR-100"):
        generate_archive(tmp_path / "a", classes=("scone", "bicycle"))


def test_the_synthetic_archive_is_synthetic_once_for_each_list_of_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr("data_prep.sample.generate_archive", lambda path, **_: drawn.append(path.write_bytes(b"")))
    first, again = (synthetic_archive(tmp_path, ("bicycle", "motorcycle")) for _ in range(2))
    assert first == again
    assert synthetic_archive(tmp_path, ("bicycle", "bus")) != first
    assert len(drawn) == 2
