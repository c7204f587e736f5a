import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_prep import writer
from data_prep.build import build_dataset
from data_prep.dataset import Manifest, read_list
from data_prep.errors import ArchiveError, DataSetError
from data_prep.fetch import file_sha256
from data_prep.images import encode_png
from data_prep.sample import generate_archive
from data_prep.validate import validate_dataset
from tests.unit.data_prep.conftest import CLASSES, archive_of, noise, split_of

BLANK = np.full((1, 32, 32, 3), 7, np.uint8)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def bicycles(names: list[str], pixels: Any) -> tuple[list[str], list[int], Any]:
    """A split of bicycles, with one motorcycle at the end so that no class is empty."""
    return [*names, "motorcycle.png"], [1] * len(names) + [3], np.concatenate([pixels, noise(1, 99)])


def test_png_files_have_the_pixels_of_the_archive(archive: Path, tmp_path: Path) -> None:
    build_dataset(archive, tmp_path / "data", classes=CLASSES)
    names, labels, pixels = split_of(20, 1)
    built = {path.name: np.asarray(Image.open(path)) for path in (tmp_path / "data/train").iterdir()}
    wanted = {name: image for name, label, image in zip(names, labels, pixels, strict=True) if label in {1, 3}}
    assert built.keys() == wanted.keys()
    assert all(np.array_equal(built[name], image) for name, image in wanted.items())


def test_lists_and_manifest_match_the_files(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    manifest = build_dataset(archive, folder, classes=("motorcycle", "bicycle"))
    assert (folder / "test_lst/test.lst").read_text() == (
        "0\t1\timage_2_1.png\n1\t0\timage_2_3.png\n2\t1\timage_2_5.png\n3\t0\timage_2_7.png\n"
    )
    assert manifest == Manifest.load(folder)
    assert manifest.classes == ("motorcycle", "bicycle")
    assert manifest.archive.sha256 == file_sha256(archive)
    assert (manifest.archive.source, manifest.archive.is_synthetic) == ("custom archive", False)
    assert manifest.splits["train"].counts == {"motorcycle": 5, "bicycle": 5}
    assert (manifest.splits["train"].total, manifest.splits["test"].total) == (10, 4)
    assert validate_dataset(folder, classes=CLASSES).is_valid


def test_building_twice_gives_identical_bytes_and_removes_old_files(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    build_dataset(archive, folder, classes=CLASSES)
    first = contents(folder)
    (folder / "train/stray.png").write_bytes(b"")
    build_dataset(archive, folder, classes=CLASSES)
    assert contents(folder) == first


def test_a_bad_image_is_rejected_with_its_reason(tmp_path: Path) -> None:
    good, leaked = noise(3, 1), noise(1, 5)
    train = bicycles(["a.png", "copy.png", "blank.png", "b.png"], np.concatenate([good[:1], good[:1], BLANK, leaked]))
    test = bicycles(["leak.png"], leaked)
    test[2][-1] = noise(1, 98)
    archive = archive_of(tmp_path / "archive", train=train, test=test)
    folder = tmp_path / "data"
    manifest = build_dataset(archive, folder, classes=CLASSES, max_rejected_share=0.5)
    assert [(r.file, r.class_name, r.reason) for split in manifest.splits.values() for r in split.rejected] == [
        ("train/copy.png", "bicycle", "same image as train/a.png"),
        ("train/blank.png", "bicycle", "blank: every pixel is (7, 7, 7)"),
        ("test/leak.png", "bicycle", "same image as train/b.png, in the other split"),
    ]
    assert manifest.splits["train"].counts == {"bicycle": 2, "motorcycle": 1}
    rejected = {str(path.relative_to(folder)) for path in (folder / "rejected").rglob("*.png")}
    assert rejected == {"rejected/train/copy.png", "rejected/train/blank.png", "rejected/test/leak.png"}
    assert not (folder / "train/copy.png").exists()
    assert [line.index for _, line in read_list(folder / "train_lst/train.lst")] == [0, 1, 2]  # type: ignore[union-attr]
    assert validate_dataset(folder, classes=CLASSES).is_valid


def test_an_image_that_the_encoder_spoils_is_rejected(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "encode_png", lambda pixels: encode_png(255 - pixels))
    manifest = build_dataset(archive, tmp_path / "data", classes=CLASSES, max_rejected_share=1)
    assert {r.reason for r in manifest.splits["train"].rejected} == {"the encoded image has other pixels"}
    monkeypatch.setattr(writer, "encode_png", lambda pixels: encode_png(pixels)[:-20])
    manifest = build_dataset(archive, tmp_path / "data", classes=CLASSES, max_rejected_share=1)
    assert "truncated PNG" in manifest.splits["train"].rejected[0].reason


def test_too_many_bad_images_stop_the_build_and_keep_the_previous_one(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    build_dataset(archive, folder, classes=CLASSES)
    before = contents(folder)
    bad = archive_of(tmp_path / "bad", train=bicycles(["a.png", "blank.png"], np.concatenate([noise(1, 1), BLANK])))
    with pytest.raises(DataSetError, match=r"1 of 3 train images are bad \(33\.3%.*train/blank\.png: blank"):
        build_dataset(bad, folder, classes=CLASSES, max_rejected_share=0.3)
    assert contents(folder) == before


def test_colliding_and_unsafe_names_become_safe_and_unique(tmp_path: Path) -> None:
    names = [
        "a.png",
        "A.png",
        "a.png",
        "a-2.png",
        "../../etc/passwd",
        ".hidden.png",
        "b\tc\n.png",
        "",
        "é/ü.png",
        "x" * 400,
    ]
    archive = archive_of(tmp_path / "archive", train=bicycles(names, noise(len(names), 1)))
    folder = tmp_path / "data"
    build_dataset(archive, folder, classes=CLASSES)
    assert [line.path for _, line in read_list(folder / "train_lst/train.lst")] == [  # type: ignore[union-attr]
        "a.png",
        "A-2.png",
        "a-3.png",
        "a-2-2.png",
        "_.._etc_passwd.png",
        "hidden.png",
        "b_c_.png",
        "image.png",
        "_.png",
        "x" * 100 + ".png",
        "motorcycle.png",
    ]
    assert validate_dataset(folder, classes=CLASSES).is_valid
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "data"}


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_build_keeps_the_previous_one(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interruption: Any
) -> None:
    folder = tmp_path / "data"

    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "Writing the test images":
            raise interruption

    with pytest.raises((KeyboardInterrupt, OSError)):
        build_dataset(archive, folder, classes=CLASSES, progress=interrupt)
    assert not folder.exists()
    build_dataset(archive, folder, classes=CLASSES)
    before = contents(folder)
    with pytest.raises((KeyboardInterrupt, OSError)):
        build_dataset(archive, folder, classes=CLASSES, progress=interrupt)
    assert contents(folder) == before
    assert {path.name for path in tmp_path.iterdir()} == {"archive.tar.gz", "data"}


def test_a_build_that_was_killed_between_its_last_steps_is_recovered(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    build_dataset(archive, folder, classes=CLASSES)
    before = contents(folder)
    folder.rename(tmp_path / ".data.old")
    (tmp_path / ".data.new").mkdir()
    with pytest.raises(ArchiveError):
        build_dataset(tmp_path / "absent", folder, classes=CLASSES)
    assert contents(folder) == before


def test_a_folder_without_a_data_set_is_not_replaced(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(DataSetError, match="exists and is not a data set"):
        build_dataset(archive, folder, classes=CLASSES)
    assert (folder / "thesis.txt").read_text() == "years of work"


def test_an_unknown_class_gets_the_nearest_names(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="class 'bycicle' is not in the archive; did you mean bicycle"):
        build_dataset(archive, tmp_path / "data", classes=("bycicle", "motorcycle"))
    with pytest.raises(DataSetError, match="it has apple, bicycle, bee, motorcycle"):
        build_dataset(archive, tmp_path / "data", classes=("xyz", "motorcycle"))


def test_a_class_without_images_is_refused(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "archive", test=(["a.png"], [1], noise(1, 3)))
    with pytest.raises(DataSetError, match="no test image of class 'motorcycle'"):
        build_dataset(archive, tmp_path / "data", classes=CLASSES)


def test_any_number_of_classes_is_built(tmp_path: Path) -> None:
    classes = ("worm", "apple", "bicycle", "motorcycle", "tank")
    archive = generate_archive(tmp_path / "drawn", classes=classes, train_per_class=3, test_per_class=2)
    manifest = build_dataset(archive, tmp_path / "data", classes=classes)
    assert manifest.splits["train"].counts == dict.fromkeys(classes, 3)
    assert (manifest.archive.source, manifest.archive.is_synthetic) == ("synthetic", True)


@pytest.mark.skipif("SCONES_CIFAR_ARCHIVE" not in os.environ, reason="names no real archive")
def test_the_real_archive_is_built(tmp_path: Path) -> None:
    archive = Path(os.environ["SCONES_CIFAR_ARCHIVE"])
    manifest = build_dataset(archive, tmp_path / "data", classes=CLASSES)
    assert manifest.splits["train"].counts == {"bicycle": 500, "motorcycle": 500}
    assert validate_dataset(tmp_path / "data", classes=CLASSES).is_valid
