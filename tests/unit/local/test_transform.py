"""Batch Transform in the stand-in: inputs, outputs and failures as SageMaker documents them."""

import json
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from moto import mock_aws

from local.sagemaker import transform
from local.sagemaker.errors import ContainerError, JobFailedError
from tests.unit.stand_in import client_for
from tests.unit.stored import create_bucket, place

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

IMAGE = "811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1"
MODEL = {"PrimaryContainer": {"Image": IMAGE, "ModelDataUrl": "s3://images/models/model.tar.gz"}}


class _Container:
    """Answers as the containers do (tests/integration/test_containers.py), without a process and a socket."""

    def __init__(self, artifact: bytes, definition: dict[str, Any], *, variables: dict[str, str]) -> None:
        assert artifact == b"model"
        assert definition == MODEL["PrimaryContainer"]
        assert variables == {"SAGEMAKER_BATCH": "true"}

    def invocations(self, body: bytes, *, content_type: str, accept: str) -> bytes:
        if content_type != "application/x-image":
            raise ContainerError(415, "content type")
        if not body.startswith(b"PNG"):
            raise ContainerError(400, "not a readable image")
        return {"application/jsonlines": b'{"prediction": [0.9, 0.1]}\n', "application/json": b"[0.9, 0.1]"}[accept]

    def close(self) -> None:
        """Nothing to end."""


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator["S3Client"]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setattr(transform, "Container", _Container)
    with mock_aws():
        create_bucket("images")
        place("images", "models/model.tar.gz", b"model")
        for key in ("images/a.png", "images/x/b.png"):
            place("images", key, b"PNG")
        yield client_for("s3")


def job(s3_uri: str = "s3://images/images/", s3_data_type: str = "S3Prefix", **changes: Any) -> dict[str, Any]:
    return {
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": s3_data_type, "S3Uri": s3_uri}},
            "ContentType": "application/x-image",
            **changes,
        },
        "TransformOutput": {"S3OutputPath": "s3://images/out/"},
    }


def outputs(s3: "S3Client") -> dict[str, Any]:
    listed = s3.list_objects_v2(Bucket="images", Prefix="out/").get("Contents", [])
    return {entry["Key"]: s3.get_object(Bucket="images", Key=entry["Key"])["Body"].read() for entry in listed}


def run(s3: "S3Client", request: dict[str, Any]) -> None:
    transform.run(request, MODEL, s3, stopped=threading.Event())


def test_each_image_below_a_prefix_gets_one_line_of_probabilities(s3: "S3Client") -> None:
    run(s3, job())
    found = outputs(s3)
    assert set(found) == {"out/a.png.out", "out/x/b.png.out"}
    for content in found.values():
        (line,) = content.splitlines()
        assert sum(json.loads(line)["prediction"]) == pytest.approx(1)


def test_json_lines_carry_a_prediction_and_json_is_the_list_alone(s3: "S3Client") -> None:
    request = job("s3://images/images/a.png")
    found = []
    for accept in ("application/jsonlines", "application/json"):
        request["TransformOutput"]["Accept"] = accept
        run(s3, request)
        (content,) = outputs(s3).values()
        found.append(json.loads(content))
    assert found[0] == {"prediction": found[1]}


def test_a_manifest_names_the_images_below_its_prefix(s3: "S3Client") -> None:
    manifest = [{"prefix": "s3://images/"}, "images/x/b.png"]
    place("images", "m.json", json.dumps(manifest))
    run(s3, job("s3://images/m.json", "ManifestFile"))
    assert set(outputs(s3)) == {"out/images/x/b.png.out"}


def test_a_bad_image_fails_the_job_and_leaves_the_others_outputs(s3: "S3Client") -> None:
    place("images", "images/bad.png", b"no image")
    with pytest.raises(
        JobFailedError, match=r"1 of 3 objects were not transformed, the first: s3://images/images/bad.png"
    ):
        run(s3, job())
    assert set(outputs(s3)) == {"out/a.png.out", "out/x/b.png.out"}


def test_a_stopped_job_transforms_nothing_more(s3: "S3Client") -> None:
    stopped = threading.Event()
    stopped.set()
    transform.run(job(), MODEL, s3, stopped=stopped)
    assert outputs(s3) == {}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (job("s3://images/nothing/"), "no S3 objects found under s3://images/nothing/"),
        (job(SplitType="Line"), "whole images only, not SplitType Line"),
        (job(ContentType="text/csv"), "2 of 2 objects were not transformed"),
        ({**job(), "MaxPayloadInMB": 1, "TransformOutput": {"S3OutputPath": "s3://absent/"}}, "cannot be written"),
        (job("s3://images/images/a.png", "ManifestFile"), "is no manifest of a prefix and paths"),
    ],
)
def test_a_job_that_cannot_run_has_a_failure_reason(s3: "S3Client", request_: dict[str, Any], message: str) -> None:
    with pytest.raises(JobFailedError, match=message):
        run(s3, request_)


def test_an_image_above_the_payload_limit_is_refused(s3: "S3Client") -> None:
    place("images", "images/large.png", b"PNG" + bytes(2**20))
    with pytest.raises(JobFailedError, match="exceed MaxPayloadInMB"):
        run(s3, {**job(), "MaxPayloadInMB": 1})


@pytest.mark.parametrize("content", [b"", b"{}", b'["a"]', b'[{"prefix": "s3://images/"}, 7]', b'[{"prefix": null}]'])
def test_an_invalid_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(JobFailedError, match=r"s3://images/m\.json"):
        transform.parse_manifest(content, "s3://images/m.json")
