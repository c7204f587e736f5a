"""The functions of the bulk workflows, with moto's S3."""

import json
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.response import StreamingBody
from moto import mock_aws

from lambda_src.bulk import bulk_summary, find_predictions, read_transform_output
from lambda_src.classification import filter_confidence
from lambda_src.shared import aws
from lambda_src.shared.errors import (
    CorruptImageError,
    ImageChangedError,
    ImageNotFoundError,
    ImageTooLargeError,
    InvalidInputError,
    InvalidPredictionError,
    ManifestExistsError,
    NotTransformedError,
    StorageUnavailableError,
)
from tests.unit.lambda_src.retraining.data_set import png
from tests.unit.stand_in import client_for
from tests.unit.stored import create_bucket, place

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "the-bucket"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator["S3Client"]:
    with mock_aws():
        client = client_for("s3")
        create_bucket(BUCKET, is_versioned=True)
        monkeypatch.setattr(aws, "s3", lambda: client)
        yield client


def put(key: str, body: str | bytes = "x") -> str:
    return place(BUCKET, key, body)


def item(key: str, **members: Any) -> dict[str, Any]:
    return {"image_data": "", "s3_bucket": BUCKET, "s3_key": key, **members}


# FindPredictions


def test_stored_predictions_are_found_and_the_rest_is_pending(bucket: "S3Client") -> None:
    version = put("test/done.png")
    put("test/new.png")
    answered = {"label": "bicycle", "confidence": 0.97, "inferences": [0.97, 0.03], "s3_version_id": version}
    stored = filter_confidence.handler(item("test/done.png", **answered), None)
    items = [item("test/new.png"), item("test/done.png"), item("test/missing.png"), {"colour": "red"}]
    found = find_predictions.handler({"items": items}, None)
    assert found["pending"] == [items[0], items[2], items[3]]
    assert found["done"] == [
        {
            "outcome": "ACCEPTED",
            "s3_bucket": BUCKET,
            "s3_key": "test/done.png",
            "s3_version_id": version,
            "label": "bicycle",
            "confidence": 0.97,
            "prediction_key": stored["prediction_key"],
        }
    ]


def test_a_new_version_of_an_image_is_pending_again(bucket: "S3Client") -> None:
    version = put("test/a.png")
    put(f"predictions/test/a.png/{version}.json", json.dumps({"label": "bicycle", "confidence": 1}))
    assert find_predictions.handler({"items": [item("test/a.png")]}, None)["pending"] == []
    put("test/a.png", "another picture")
    assert find_predictions.handler({"items": [item("test/a.png")]}, None)["done"] == []
    assert find_predictions.handler({"items": [item("test/a.png", s3_version_id=version)]}, None)["pending"] == []


def test_a_prediction_that_cannot_be_read_is_none(bucket: "S3Client") -> None:
    version = put("test/a.png")
    put(f"predictions/test/a.png/{version}.json", "{")
    assert find_predictions.handler({"items": [item("test/a.png")]}, None)["done"] == []


def test_another_buckets_image_has_no_prediction_here(bucket: "S3Client") -> None:
    create_bucket("another-bucket")
    put("predictions/test/a.png/v.json", json.dumps({"label": "bicycle", "confidence": 1}))
    another = {**item("test/a.png", s3_version_id="v"), "s3_bucket": "another-bucket"}
    assert find_predictions.handler({"items": [another]}, None) == {"done": [], "pending": [another]}
    assert find_predictions.handler({"items": [item("test/a.png", s3_version_id="v")]}, None)["pending"] == []


# ReadTransformOutput

LATER = (datetime.now(UTC) + timedelta(hours=1)).isoformat()  # moto stores at the present time
OF_RUN = {"transform_output": "transforms/run/", "input_prefix": "test/", "started_at": LATER}
IMAGE = png(1)


def test_an_output_becomes_the_output_of_classifier(bucket: "S3Client") -> None:
    version = put("test/a.png", IMAGE)
    put("transforms/run/a.png.out", '{"prediction": [0.03, 0.97]}\n')
    answer = read_transform_output.handler(item("test/a.png", **OF_RUN), None)
    assert answer["s3_version_id"] == version
    assert (answer["label"], answer["confidence"], answer["inferences"]) == ("motorcycle", 0.97, [0.03, 0.97])
    assert filter_confidence.handler(answer, None)["prediction_key"] == f"predictions/test/a.png/{version}.json"


def test_an_output_is_also_found_where_it_keeps_the_inputs_prefix(bucket: "S3Client") -> None:
    put("test/a.png", IMAGE)
    put("transforms/run/test/a.png.out", "[0.03, 0.97]")
    assert read_transform_output.handler(item("test/a.png", **OF_RUN), None)["label"] == "motorcycle"


@pytest.mark.parametrize(
    ("members", "error", "message"),
    [
        ({"input_prefix": None}, InvalidInputError, "input_prefix must be a prefix, not None"),
        ({"transform_output": 7}, InvalidInputError, "transform_output must be a prefix, not 7"),
        (
            {"transform_output": "transforms/none/"},
            NotTransformedError,
            r"no prediction of Batch Transform \(no transforms/none/a.png.out or transforms/none/test/a.png.out\)",
        ),
        (
            {"transform_output": "transforms/none/", "job_failure": "out of memory"},
            NotTransformedError,
            "the job failed: out of memory",
        ),
        ({"transform_output": "transforms/text/"}, InvalidPredictionError, "Batch Transform must write one"),
        ({"s3_key": "test/none"}, ImageNotFoundError, "does not exist"),
    ],
)
def test_a_missing_image_or_prediction_is_named(
    bucket: "S3Client", members: dict[str, Any], error: type[Exception], message: str
) -> None:
    put("test/a.png", IMAGE)
    put("transforms/text/a.png.out", "none")
    with pytest.raises(error, match=message):
        read_transform_output.handler(item("test/a.png") | OF_RUN | members, None)


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (b"no image", CorruptImageError),
        (IMAGE[:-1], CorruptImageError),
        (IMAGE + bytes(6 << 20), ImageTooLargeError),
    ],
)
def test_images_that_the_inline_workflow_refuses_get_no_prediction(
    bucket: "S3Client", image: bytes, error: type[Exception]
) -> None:
    """Batch Transform checks nothing, and a decoder may have made something of it."""
    put("test/a.png", image)
    put("transforms/run/a.png.out", "[0.03, 0.97]")
    with pytest.raises(error):
        read_transform_output.handler(item("test/a.png", **OF_RUN), None)


def test_a_prediction_is_never_stored_for_a_version_that_the_job_may_not_have_read(bucket: "S3Client") -> None:
    """The image was replaced while the job ran, so its answer may be of the version before."""
    put("test/a.png", IMAGE)
    put("transforms/run/a.png.out", "[0.03, 0.97]")
    started = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    with pytest.raises(ImageChangedError, match="after the run started"):
        read_transform_output.handler(item("test/a.png", **OF_RUN) | {"started_at": started}, None)


# BulkSummary


def outcome(name: str, number: int, **members: Any) -> dict[str, Any]:
    return {"outcome": name, "s3_bucket": BUCKET, "s3_key": f"test/{number}.png", **members}


def results(**files: list[dict[str, Any]]) -> None:
    """Write a run's results as ResultWriter does."""
    folder = "manifests/run/0a1b/8e1a"
    listed: dict[str, list[dict[str, str]]] = {"SUCCEEDED": [], "FAILED": [], "PENDING": []}
    for status, lines in files.items():
        key = f"{folder}/{status}_0.jsonl"
        put(key, "".join(f"{json.dumps(line)}\n" for line in lines))
        listed[status].append({"Key": key})
    put(f"{folder}/manifest.json", json.dumps({"DestinationBucket": BUCKET, "ResultFiles": listed}))


EVENT = {"execution": "run", "started_at": "2024-12-22T10:00:00Z", "results": "manifests/run/0a1b"}


def summary() -> dict[str, Any]:
    return bulk_summary.handler(EVENT, None)


def test_outcomes_are_counted_and_the_manifest_names_their_files(bucket: "S3Client") -> None:
    lines = [outcome("ACCEPTED", 1, label="bicycle"), outcome("ACCEPTED", 2, label="motorcycle")]
    lines += [
        outcome("ACCEPTED", 3, label="bicycle"),
        outcome("REJECTED", 4, label="bicycle", error="LowConfidenceError"),
    ]
    lines += [outcome("FAILED", 5, error="CorruptImageError", cause="x" * 500)]
    results(SUCCEEDED=lines)
    answer = summary()
    assert answer["counts"] == {"ACCEPTED": 3, "REJECTED": 1, "WAITING": 0, "FAILED": 1}
    assert answer["labels"] == {
        "ACCEPTED": {"bicycle": 2, "motorcycle": 1},
        "REJECTED": {"bicycle": 1},
        "WAITING": {},
        "FAILED": {},
    }
    assert answer["errors"] == {"LowConfidenceError": 1, "CorruptImageError": 1}
    assert [example["s3_key"] for example in answer["examples"]] == ["test/4.png", "test/5.png"]
    manifest = json.loads(bucket.get_object(Bucket=BUCKET, Key="manifests/run.json")["Body"].read())
    assert manifest == {
        **answer,
        "outcomes": {
            "SUCCEEDED": [f"s3://{BUCKET}/manifests/run/0a1b/8e1a/SUCCEEDED_0.jsonl"],
            "FAILED": [],
            "PENDING": [],
        },
    }


def test_every_image_of_a_batch_that_broke_or_never_ran_has_failed(bucket: "S3Client") -> None:
    batch = json.dumps({"Items": [item("test/1.png"), item("test/2.png")]})
    results(
        SUCCEEDED=[outcome("ACCEPTED", 3, label="bicycle")],
        FAILED=[{"Status": "FAILED", "Error": "States.Timeout", "Cause": "slow", "Input": batch}],
        PENDING=[{"Input": batch}],
    )
    answer = summary()
    assert answer["counts"] == {"ACCEPTED": 1, "REJECTED": 0, "WAITING": 0, "FAILED": 4}
    assert answer["errors"] == {"States.Timeout": 2, "BatchPending": 2}


def test_a_step_that_is_done_again_finds_its_manifest(bucket: "S3Client") -> None:
    results(SUCCEEDED=[outcome("ACCEPTED", 1, label="bicycle")])
    assert summary() == summary()


def test_no_run_overwrites_the_manifest_of_another_of_its_name(bucket: "S3Client") -> None:
    """Of the inline workflow, the other bulk workflow, or of more than 90 days ago."""
    put("manifests/run.json", '{"execution": "run"}')
    results(SUCCEEDED=[outcome("ACCEPTED", 1, label="bicycle")])
    with pytest.raises(ManifestExistsError, match="another execution with this name wrote it"):
        summary()
    assert bucket.get_object(Bucket=BUCKET, Key="manifests/run.json")["Body"].read() == b'{"execution": "run"}'


def test_the_results_of_another_run_of_this_name_are_not_counted(bucket: "S3Client") -> None:
    results(SUCCEEDED=[outcome("ACCEPTED", 1, label="bicycle")])
    assert bulk_summary.handler({**EVENT, "results": "manifests/run/2c3d"}, None)["counts"]["ACCEPTED"] == 0


@pytest.mark.parametrize("key", ["k" * 1_000, "ü" * 500, "\n" * 1_000, "x" * 100_000, "x" * 300_000])
def test_a_summary_fits_into_a_state_with_any_keys(bucket: "S3Client", key: str) -> None:
    lines = [outcome("FAILED", 1, error="InvalidInputError", cause="c" * 500) | {"s3_key": key} for _ in range(30)]
    broken = {"Status": "FAILED", "Input": json.dumps({"Items": [item(key, label=key, more=key)] * 2}), "Cause": key}
    results(SUCCEEDED=[*lines, outcome("FAILED", 2, error="CorruptImageError")], FAILED=[broken])
    answer = summary()
    assert answer["counts"]["FAILED"] == 33
    assert len(json.dumps(answer)) < 110_000
    if len(key) > 100_000:
        assert [example["s3_key"] for example in answer["examples"]] == ["test/2.png"], "what fits is still shown"


def test_a_run_over_nothing_has_counted_nothing(bucket: "S3Client") -> None:
    assert summary()["counts"] == {"ACCEPTED": 0, "REJECTED": 0, "WAITING": 0, "FAILED": 0}


def test_a_bucket_that_is_away_is_worth_another_try(bucket: "S3Client") -> None:
    bucket.delete_bucket(Bucket=BUCKET)
    with pytest.raises(StorageUnavailableError):
        summary()


class EndlessFile:
    """Lines made while they are read, as many as are asked for."""

    def __init__(self, count: int) -> None:
        self._lines = (json.dumps(outcome("FAILED", n, error="CorruptImageError")).encode() for n in range(count))
        self._left = b""

    def read(self, amount: int) -> bytes:
        while len(self._left) < amount and (line := next(self._lines, None)):
            self._left += line + b"\n"
        taken, self._left = self._left[:amount], self._left[amount:]
        return taken


def test_memory_does_not_grow_with_the_outcomes(monkeypatch: pytest.MonkeyPatch) -> None:
    def peak(count: int) -> int:
        body = StreamingBody(cast("Any", EndlessFile(count)), cast("Any", None))
        monkeypatch.setattr(aws, "s3", lambda: SimpleNamespace(get_object=lambda **_: {"Body": body}))
        tracemalloc.start()
        try:
            assert bulk_summary.summarize({"SUCCEEDED": ["key"]}).counts["FAILED"] == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)
    assert peak(5_000) < 1.2 * peak(1_000)
