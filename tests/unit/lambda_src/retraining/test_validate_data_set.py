from collections.abc import Callable, Iterator
from typing import Any

import pytest
from moto import mock_aws

from lambda_src.retraining import validate_data_set
from lambda_src.retraining.data_set import validation_lines
from lambda_src.retraining.errors import InvalidDataSetError
from lambda_src.retraining.validate_data_set import handler
from lambda_src.shared import aws
from tests.unit.lambda_src.retraining.data_set import BUCKET, DataSet, png
from tests.unit.stand_in import client_for
from tests.unit.stored import create_bucket


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, retraining_settings: None) -> Iterator[Any]:
    with mock_aws():
        s3 = client_for("s3")
        create_bucket(BUCKET)
        monkeypatch.setattr(aws, "s3", lambda: s3)
        yield s3


def test_a_good_data_set_is_measured_and_its_validation_images_are_listed(bucket: Any) -> None:
    data = DataSet.of()
    data.store()
    assert handler({"run": "run1"}, None) == {
        "data_digest": data.digest,
        "train": 6,
        "validation": 4,
        "validation_manifest": "retraining/run1/validation.manifest",
    }
    listed = bucket.get_object(Bucket=BUCKET, Key="retraining/run1/validation.manifest")["Body"].read()
    assert listed == b'[{"prefix": "s3://the-bucket/test/"}, "test_0.png", "test_1.png", "test_2.png", "test_3.png"]'
    assert [line.label for line in validation_lines(BUCKET)] == [0, 1, 0, 1]


def test_more_images_than_are_kept_in_memory_keep_their_order(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate_data_set, "_IN_MEMORY", 3)
    data = DataSet.of(train=20)
    data.store()
    assert handler({"run": "r"}, None)["data_digest"] == data.digest


def test_the_limit_is_for_the_images_of_both_lists(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    DataSet.of(train=6).store()  # and 4 validation images
    monkeypatch.setattr(validate_data_set, "MAX_IMAGES", 10)
    handler({"run": "r"}, None)
    monkeypatch.setattr(validate_data_set, "MAX_IMAGES", 9)
    with pytest.raises(InvalidDataSetError, match="more than 9 images"):
        handler({"run": "r"}, None)


def _without_manifest(data: DataSet) -> None:
    del data.objects["manifest.json"]


def test_a_data_set_of_somebody_else_needs_no_manifest(bucket: Any) -> None:
    data = DataSet.of()
    _without_manifest(data)
    data.objects["train/train_0.png"] = png(7, size=48)
    data.store()
    assert handler({"run": "r"}, None)["train"] == 6


def _replaced(key: str, body: bytes) -> Callable[[DataSet], None]:
    return lambda data: data.objects.update({key: body})


def _list(text: str) -> Callable[[DataSet], None]:
    return _replaced("train_lst/train.lst", text.encode())


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda data: data.objects.pop("train_lst/train.lst"), "train_lst/train.lst does not exist"),
        (lambda data: data.objects.pop("train/train_3.png"), "train/train_3.png: no such object"),
        (_replaced("train/train_3.png", b""), "train/train_3.png: neither PNG nor JPEG, but empty"),
        (_replaced("test/test_1.png", png(1)[:-20]), "test/test_1.png: truncated PNG"),
        (_replaced("test/test_1.png", png(1, size=31)), "test/test_1.png: is 31x31, not 32x32 pixels"),
        (lambda data: data.objects.update({"test/test_1.png": data.objects["train/train_1.png"]}),
         "test/test_1.png: same image as train/train_1.png, in the other split"),
        (_list("0\t0\ttrain_0.png\n1\t1\ttrain_0.png\n"), "train/train_0.png: listed twice"),
        (_list("0\t0\ttrain_0.png\n0\t1\ttrain_1.png\n"), "train_lst/train.lst:2: index 0 is not unique"),
        (_list("0 0 train_0.png\n"), "train_lst/train.lst:1: 1 fields instead of"),
        (_list("0\t0\t../secret.png\n"), "is not below the split's folder"),
        (_list(""), "train_lst/train.lst: has no good image"),
        (_list("0\t0\ttrain_0.png\n1\t2\ttrain_1.png\n"), "has the labels 0, 1, 2, but bicycle, motorcycle need"),
        (_replaced("train/train_3.png", png(12345)), "manifest.json: the data digest differs: images or .lst files"),
    ],
)  # fmt: skip
def test_a_problem_of_the_data_set_is_named(bucket: Any, spoil: Callable[[DataSet], None], problem: str) -> None:
    data = DataSet.of()
    spoil(data)
    data.store()
    with pytest.raises(InvalidDataSetError) as caught:
        handler({"run": "r"}, None)
    assert problem in str(caught.value)


def test_equal_problems_are_one_line_with_their_number(bucket: Any) -> None:
    data = DataSet.of(train=40)
    for index in range(30):
        data.objects[f"train/train_{index}.png"] = b""
    for index in range(30, 35):
        data.objects[f"train/train_{index}.png"] = png(index)[: -20 - index]
    data.store()
    with pytest.raises(InvalidDataSetError, match="35 problems, the first are") as caught:
        handler({"run": "r"}, None)
    empty, truncated = str(caught.value).splitlines()[1:]
    assert empty == (
        "30 files, train/train_0.png, train/train_1.png, train/train_2.png, ...: neither PNG nor JPEG, but empty"
    )
    assert truncated.startswith("5 files, train/train_30.png, ")
    assert "truncated PNG" in truncated


def test_many_kinds_of_problems_do_not_flood_the_message(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate_data_set, "SHOWN", 2)
    data = DataSet.of()
    data.objects["train_lst/train.lst"] = b"0\t0\ttrain_0.png\n0\t1\ttrain_0.png\nhello\n"
    data.store()
    with pytest.raises(InvalidDataSetError, match="3 problems, the first are") as caught:
        handler({"run": "r"}, None)
    assert len(str(caught.value).splitlines()) == 3
