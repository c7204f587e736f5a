import shutil
from pathlib import Path

import pytest
from PIL import Image

from data_prep.build import build_dataset
from data_prep.errors import DataSetError
from data_prep.validate import validate_dataset
from lambda_src.retraining import data_set_rules
from tests.unit.data_prep.conftest import CLASSES, noise, picture, write_dataset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set that somebody else made: JPEG and PNG, nested, Unicode names, no manifest."""
    for split, seed in (("train", 1), ("test", 2)):
        for name, pixels in zip(("räder/a b.png", "räder/b.jpg", "c.jpeg"), noise(3, seed), strict=True):
            file = tmp_path / split / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file, quality=95)
        (tmp_path / f"{split}_lst").mkdir()
        (tmp_path / f"{split}_lst/{split}.lst").write_text("5\t0\träder/a b.png\n7\t1\träder/b.jpg\n9\t1\tc.jpeg\n")
    return tmp_path


def problems(folder: Path) -> list[tuple[str, str]]:
    report = validate_dataset(folder, classes=CLASSES)
    return [(problem.file, problem.reason) for problem in report.problems]


def test_a_good_folder_of_somebody_else_passes(folder: Path) -> None:
    report = validate_dataset(folder, classes=CLASSES)
    assert report.is_valid
    assert (report.images, report.labels) == ({"train": 3, "test": 3}, 2)


def test_every_problem_is_reported_by_file(folder: Path) -> None:
    images = folder / "train"
    whole = (images / "c.jpeg").read_bytes()
    (images / "c.jpeg").write_bytes(whole[: len(whole) // 2])
    (images / "text.png").write_text("no image")
    (images / "empty.png").touch()
    Image.new("RGB", (32, 32), (1, 2, 3)).save(images / "blank.png")
    shutil.copy(images / "räder/a b.png", images / "copy.png")
    shutil.copy(folder / "test/c.jpeg", images / "leak.jpeg")
    added = (
        "text.png",
        "empty.png",
        "blank.png",
        "copy.png",
        "leak.jpeg",
        "absent.png",
        "räder",
    )
    with (folder / "train_lst/train.lst").open("a") as lines:
        lines.writelines(f"{20 + number}\t0\t{name}\n" for number, name in enumerate(added))
        lines.write("5\t0\träder/a b.png\nhello\n")
    found = problems(folder)
    assert [file for file, _ in found[:-1]] == [
        "train/c.jpeg",
        *(f"train/{name}" for name in added if name != "leak.jpeg"),
        "train_lst/train.lst:11",
        "train/räder/a b.png",
        "train_lst/train.lst:12",
    ]
    reasons = [reason for _, reason in found]
    assert "truncated JPEG" in reasons[0]
    assert reasons[1:] == [
        "neither PNG nor JPEG, but bytes that start with 6e 6f 20 69 6d 61 67 65",
        "neither PNG nor JPEG, but empty",
        "blank: every pixel is (1, 2, 3)",
        "same image as train/räder/a b.png",
        "no such file",
        "no such file",
        "index 5 is not unique",
        "listed twice",
        "1 fields instead of index, label and path, separated by tabs: 'hello'",
        "same image as train/leak.jpeg, in the other split",
    ]


def test_lists_in_the_root_are_understood(folder: Path) -> None:
    for split in ("train", "test"):
        (folder / f"{split}_lst/{split}.lst").rename(folder / f"{split}.lst")
    assert not problems(folder)
    (folder / "train/c.jpeg").unlink()
    with (folder / "train.lst").open("a") as lines:
        lines.write("hello\n")
    assert [file for file, _ in problems(folder)] == ["train/c.jpeg", "train.lst:4"]


def test_another_size_than_the_manifest_s_is_a_problem(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "dataset", 4, 2, picture)
    Image.new("RGB", (64, 64)).save(folder / "train/train_0000.png")
    assert ("train/train_0000.png", "is 64x64, not 32x32 pixels") in problems(folder)


def test_labels_that_leave_out_a_number_are_a_problem(folder: Path) -> None:
    for split in ("train", "test"):
        file = folder / f"{split}_lst/{split}.lst"
        file.write_text(file.read_text().replace("\t1\t", "\t2\t"))
    assert problems(folder) == [
        ("train_lst/train.lst", "has the labels 0, 2, but bicycle, motorcycle need each of 0 to 1")
    ]


def test_a_split_without_images_is_a_problem(folder: Path) -> None:
    (folder / "test_lst/test.lst").write_text("\n")
    assert problems(folder) == [("test_lst/test.lst", "has no good image")]


def test_a_huge_file_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_set_rules, "MAX_IMAGE_BYTES", 1000)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read"))
    assert "more than 1,000" in problems(folder)[0][1]


@pytest.mark.parametrize("change", ["train/image_1_1.png", "test_lst/test.lst"])
def test_data_that_changed_after_the_build_is_noticed(archive: Path, tmp_path: Path, change: str) -> None:
    folder = tmp_path / "data"
    build_dataset(archive, folder, classes=CLASSES)
    if change.endswith(".png"):
        Image.fromarray(noise(1, 50)[0]).save(folder / change)
    else:
        file = folder / change
        file.write_text(file.read_text().replace("\t1\t", "\t0\t", 1))
    assert [file for file, _ in problems(folder)] == ["manifest.json"]


def test_missing_folders_and_lists_are_named(folder: Path) -> None:
    with pytest.raises(DataSetError, match="absent: no such folder"):
        validate_dataset(folder / "absent", classes=CLASSES)
    (folder / "test_lst/test.lst").unlink()
    with pytest.raises(DataSetError, match=r"has neither test_lst/test\.lst nor test\.lst; a data set has"):
        validate_dataset(folder, classes=CLASSES)
