"""From the folder of the original's notebook to a data set."""

from pathlib import Path

import pytest

from data_prep.build import build_dataset
from data_prep.dataset import Manifest
from data_prep.errors import DataSetError
from data_prep.original import import_dataset
from data_prep.validate import validate_dataset
from tests.original import write_original
from tests.unit.data_prep.conftest import CLASSES


@pytest.fixture
def original(archive: Path, tmp_path: Path) -> Path:
    return write_original(tmp_path / "original", archive)


def relabel(folder: Path, labels: dict[str, str]) -> None:
    for file in folder.glob("*.lst"):
        text = file.read_bytes().decode()
        for old, new in labels.items():
            text = text.replace(f"\t{old}\t", f"\t{new}\t")
        file.write_text(text, newline="")


@pytest.mark.parametrize("labels", [{}, {"8": "0", "48": "1"}], ids=["the archive's labels", "labels from 0"])
def test_the_original_becomes_what_build_makes_of_the_same_images(
    archive: Path, original: Path, tmp_path: Path, labels: dict[str, str]
) -> None:
    relabel(original, labels)
    built = build_dataset(archive, tmp_path / "built", classes=CLASSES)
    imported = import_dataset(original, tmp_path / "imported", classes=CLASSES)
    assert (imported.data_digest, imported.splits) == (built.data_digest, built.splits)
    assert imported.archive.source == "imported folder"
    assert Manifest.load(tmp_path / "imported") == imported
    assert validate_dataset(tmp_path / "imported", classes=CLASSES).is_valid
    for split in ("train", "test"):
        name = f"{split}_lst/{split}.lst"
        assert (tmp_path / "imported" / name).read_bytes() == (tmp_path / "built" / name).read_bytes()


def test_labels_follow_the_order_of_the_classes(original: Path, tmp_path: Path) -> None:
    manifest = import_dataset(original, tmp_path / "data", classes=("motorcycle", "bicycle"))
    assert manifest.classes == ("motorcycle", "bicycle")
    assert (tmp_path / "data/train_lst/train.lst").read_text().splitlines()[0] == "0\t1\timage_1_1.png"


@pytest.mark.parametrize("labels", [{"8": "0"}, {"48": "9"}, {"8": "1", "48": "2"}])
def test_other_labels_are_refused_with_what_was_expected(
    original: Path, tmp_path: Path, labels: dict[str, str]
) -> None:
    relabel(original, labels)
    with pytest.raises(DataSetError, match="but bicycle, motorcycle are 0, 1, or 8, 48 in CIFAR-100: set `classes`"):
        import_dataset(original, tmp_path / "data", classes=CLASSES)
    assert not (tmp_path / "data").exists()


def test_bad_images_are_left_out_with_a_reason_or_stop_the_import(original: Path, tmp_path: Path) -> None:
    (original / "train/image_1_1.png").write_bytes(b"no image")
    (original / "train/image_1_3.png").unlink()
    with pytest.raises(
        DataSetError, match=r"2 of 10 train images are bad .* the first is train/image_1_1\.png: neither"
    ):
        import_dataset(original, tmp_path / "data", classes=CLASSES)
    manifest = import_dataset(original, tmp_path / "data", classes=CLASSES, max_rejected_share=0.5)
    assert [(r.file, r.reason.split(",")[0]) for r in manifest.splits["train"].rejected] == [
        ("train/image_1_1.png", "neither PNG nor JPEG"),
        ("train/image_1_3.png", "no such file"),
    ]
    assert (tmp_path / "data/rejected/train/image_1_1.png").read_bytes() == b"no image"


def test_a_line_that_cannot_be_read_is_named(original: Path, tmp_path: Path) -> None:
    (original / "test.lst").write_text("0 8 image.png\n")
    with pytest.raises(DataSetError, match=r"test\.lst:1: 1 fields instead of"):
        import_dataset(original, tmp_path / "data", classes=CLASSES)


def test_the_error_for_another_folder_describes_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(
        DataSetError, match=r"has neither train_lst/train\.lst nor train\.lst; a data set has images in"
    ):
        import_dataset(tmp_path, tmp_path / "data", classes=CLASSES)
    with pytest.raises(DataSetError, match="absent: no such folder"):
        import_dataset(tmp_path / "absent", tmp_path / "data", classes=CLASSES)
