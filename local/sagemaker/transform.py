"""A Batch Transform job: every input object through the container, one `.out` object of predictions for each.

Input, output and failure follow
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTransformJob.html and
https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform.html: an object that the container refuses gets no
output, the others do, and the job ends as Failed. The response to application/jsonlines is one JSON object a line, the
response to application/json the endpoint's list
(https://docs.aws.amazon.com/sagemaker/latest/dg/image-classification.html).
"""

import contextlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from local.sagemaker import storage
from local.sagemaker.container import Container, is_scikit_learn
from local.sagemaker.errors import ContainerError, JobFailedError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_TRANSFERS = 8  # concurrent objects, each with a small read and a small write
_DEFAULT_MAX_PAYLOAD_MB = 6


def run(job: dict[str, Any], model: dict[str, Any], s3: "S3Client", *, stopped: threading.Event) -> None:
    """Run the job of a CreateTransformJob request with a model's record; raises JobFailedError.

    Ends early, with the output so far, when `stopped` is set.
    """
    source = job["TransformInput"]
    for setting, default in (("SplitType", "None"), ("CompressionType", "None")):
        if source.get(setting, default) != default:
            raise JobFailedError(f"ClientError: the stand-in takes whole images only, not {setting} {source[setting]}")
    inputs = input_objects(s3, source["DataSource"]["S3DataSource"])
    output = job["TransformOutput"]["S3OutputPath"].rstrip("/")
    definition = model["PrimaryContainer"]
    accept = job["TransformOutput"].get("Accept", "")
    if not accept and not is_scikit_learn(definition["Image"]):
        accept = "application/jsonlines"  # the built-in algorithm's only documented response format for transform jobs
    limit = job.get("MaxPayloadInMB", _DEFAULT_MAX_PAYLOAD_MB) * 2**20 or None
    content_type = source.get("ContentType", "")
    computing = threading.Lock()  # the job must not compete with the endpoint, which on AWS has other processors

    def transform(uri: str, relative: str) -> str | None:
        """The error of one object."""
        if stopped.is_set():
            return None
        try:
            body = storage.read(s3, uri)
            if limit and len(body) > limit:
                return f"{uri}: {len(body)} bytes exceed MaxPayloadInMB"
            with computing:
                response = served.invocations(body, content_type=content_type, accept=accept)
        except (ContainerError, JobFailedError) as error:
            return f"{uri}: {error}"
        storage.write(s3, f"{output}/{relative}.out", response)
        return None

    variables = {"SAGEMAKER_BATCH": "true", **job.get("Environment", {})}
    served = Container(storage.read(s3, definition["ModelDataUrl"]), definition, variables=variables)
    with contextlib.closing(served), ThreadPoolExecutor(_TRANSFERS) as pool:
        problems = [problem for problem in pool.map(transform, *zip(*inputs, strict=True)) if problem]
    if problems:
        raise JobFailedError(
            f"ClientError: {len(problems)} of {len(inputs)} objects were not transformed, the first: {problems[0]}"
        )


def input_objects(s3: "S3Client", source: dict[str, str]) -> list[tuple[str, str]]:
    """URI and path below the output of every input object; raises JobFailedError."""
    uri = source["S3Uri"]
    if source["S3DataType"] == "ManifestFile":
        prefix, paths = parse_manifest(storage.read(s3, uri), uri)
        objects = [(f"{prefix}{path}", path) for path in paths]
    else:
        folder = f"{uri.rpartition('/')[0]}/"
        objects = [(found, found.removeprefix(folder)) for found in storage.etags(s3, uri) if not found.endswith("/")]
    if not objects:
        raise JobFailedError(f"ClientError: no S3 objects found under {uri}")
    return objects


def parse_manifest(content: bytes, uri: str) -> tuple[str, list[str]]:
    """Prefix and relative paths of `[{"prefix": "s3://..."}, "path", ...]`; raises JobFailedError."""
    try:
        first, *paths = json.loads(content)
        prefix = first["prefix"]
    except (ValueError, TypeError, KeyError) as error:
        raise JobFailedError(f"ClientError: {uri} is no manifest of a prefix and paths below it: {error!r}") from error
    if not all(isinstance(path, str) for path in (prefix, *paths)):
        raise JobFailedError(f"ClientError: {uri} names something that is no path")
    return prefix, paths
