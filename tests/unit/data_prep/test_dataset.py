from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.build import build_dataset
from data_prep.dataset import Manifest, read_list, write_list
from data_prep.errors import DataSetError
from lambda_src.retraining.lst_file import DataDigest, ListLine, parse_line
from tests.unit.data_prep.conftest import CLASSES

names = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="/\\"), min_size=1).filter(
    lambda name: name not in {".", ".."}
)
lines = st.builds(
    ListLine,
    st.integers(0, 999_999_999),
    st.integers(0, 99),
    st.lists(names, min_size=1, max_size=3).map("/".join),
)


@given(st.lists(lines, max_size=5))
def test_a_list_is_read_back_as_it_was_written(written: list[ListLine]) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder, "train_lst", "train.lst")
        write_list(file, written)
        assert list(read_list(file)) == list(enumerate(written, 1))


@given(st.text(max_size=80).filter(lambda text: "\n" not in text))
def test_any_line_is_read_as_itself_or_refused(text: str) -> None:
    try:
        line = parse_line(text)
    except ValueError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either way is right
    else:
        assert line == parse_line(str(line))
        assert not Path(line.path).is_absolute()
        assert ".." not in Path(line.path).parts


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0 1 a.png", "1 fields instead of index, label and path"),
        ("0\t1\ta.png\tb", "4 fields"),
        ("-1\t1\ta.png", "index '-1' is not a whole number of at least 0"),
        ("0\t1.0\ta.png", "label '1.0' is not a whole number of at least 0"),
        ("0\t٣\ta.png", "is not a whole number"),
        ("0\t1\t../a.png", "not below the split's folder"),
        ("0\t1\t/etc/passwd", "not below the split's folder"),
        ("0\t1\t", "not below the split's folder"),
    ],
)
def test_a_bad_line_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_line(text)


def test_empty_lines_and_windows_line_ends_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "train.lst"
    file.write_bytes(b"0\t1\ta.png\r\n\r\nbad\r\n1\t0\tb.png")
    found = list(read_list(file))
    assert [number for number, _ in found] == [1, 3, 4]
    assert found[0][1] == ListLine(0, 1, "a.png")
    assert isinstance(found[1][1], ValueError)
    assert found[2][1] == ListLine(1, 0, "b.png")


def test_the_digest_depends_on_every_part() -> None:
    def digest(split: str, line: ListLine, file_sha256: str) -> str:
        whole = DataDigest()
        whole.add(split, line, file_sha256)
        return whole.hexdigest()

    variants = [
        digest("train", ListLine(0, 1, "a"), "x"),
        digest("test", ListLine(0, 1, "a"), "x"),
        digest("train", ListLine(1, 1, "a"), "x"),
        digest("train", ListLine(0, 0, "a"), "x"),
        digest("train", ListLine(0, 1, "b"), "x"),
        digest("train", ListLine(0, 1, "a"), "y"),
    ]
    assert len(set(variants)) == len(variants)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"format_version": 2', '"format_version": 1', "has format 1, not 2"),
        ('"data_digest"', '"digest"', "build the data set again"),
        ('"total": 10', '"total": "10"', "splits.train.total: Input should be a valid integer"),
        ("{", "", "Invalid JSON"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(archive: Path, tmp_path: Path, old: str, new: str, reason: str) -> None:
    build_dataset(archive, tmp_path / "data", classes=CLASSES)
    file = tmp_path / "data/manifest.json"
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(DataSetError, match=reason) as caught:
        Manifest.load(tmp_path / "data")
    assert "\n" not in str(caught.value)


def test_the_error_for_a_missing_manifest_names_the_command_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="python -m data_prep build"):
        Manifest.load(tmp_path)
