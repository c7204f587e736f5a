"""ValidateDataSet: applies the rules of `data_prep validate` to the data set in the bucket.

It reads each image once, in the order of the `.lst` files, with a bounded number of images in memory. Only data_prep
finds what needs a decoder: blank images, the same pixels in two encodings, and pixels that do not decompress.
"""

import json
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import blake2b, sha256
from typing import Any

from botocore.exceptions import ClientError

from lambda_src.retraining.data_set import SPLITS, text_lines, validation_lines
from lambda_src.retraining.data_set_rules import (
    MANIFEST_KEY,
    CheckedImage,
    DataSetRules,
    ProblemGroups,
    image_problem,
    size_problem,
)
from lambda_src.retraining.errors import InvalidDataSetError
from lambda_src.retraining.lst_file import ListLine, parse_lines
from lambda_src.shared import aws, settings
from lambda_src.shared.json_reader import read_json

MAX_IMAGES = 200_000  # of both lists together: a quarter of the function's 15 minutes (benchmarks/validation.py)
SHOWN = 10
_IN_MEMORY = 2 * aws.MAX_CONNECTIONS


class BucketValidation:
    """Reads the images that the `.lst` files in the bucket name, and passes them to the rules in their order."""

    def __init__(self, bucket: str, rules: DataSetRules, *, size: int | None) -> None:
        self._bucket = bucket
        self._rules = rules
        self._size = size
        self._count = 0  # of the images in all lists so far

    def check_split(self, split: str) -> None:
        prefix, list_key = SPLITS[split]
        with ThreadPoolExecutor(aws.MAX_CONNECTIONS) as pool:
            for image in _in_order(pool, lambda line: self._check(prefix, line), self._lines(list_key)):
                self._rules.add(split, image)

    def _lines(self, list_key: str) -> Iterator[ListLine]:
        for line in self._rules.lines(list_key, parse_lines(text_lines(self._bucket, list_key))):
            self._count += 1
            if self._count > MAX_IMAGES:
                raise InvalidDataSetError(f"the lists name more than {MAX_IMAGES:,} images: use a smaller data set")
            yield line

    def _check(self, prefix: str, line: ListLine) -> CheckedImage:
        try:
            response = aws.s3().get_object(Bucket=self._bucket, Key=f"{prefix}{line.path}")
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"NoSuchKey", "AccessDenied"}:
                raise
            return CheckedImage(line, reason="no such object")
        if reason := size_problem(response["ContentLength"]):
            response["Body"].close()
            return CheckedImage(line, reason=reason)
        data = response["Body"].read()
        if reason := image_problem(data, size=self._size):
            return CheckedImage(line, reason=reason)
        return CheckedImage(line, sha256(data).hexdigest(), blake2b(data, digest_size=16).digest())


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Takes `{"run"}`; returns the data digest, the number of images in each split, and the key of the list of
    validation images for Batch Transform.

    Raises InvalidDataSetError with the first problems.
    """
    bucket = settings.bucket_name()
    manifest, problems = _manifest(bucket), ProblemGroups()
    rules = DataSetRules(settings.classes(), problems.add)
    validation = BucketValidation(bucket, rules, size=manifest.get("parameters", {}).get("image_size"))
    for split in SPLITS:
        validation.check_split(split)
    rules.finish({split: list_key for split, (_, list_key) in SPLITS.items()}, manifest)
    if problems.total:
        shown = "\n".join(problems.lines()[:SHOWN])
        raise InvalidDataSetError(f"s3://{bucket}: {problems.total:,} problems, the first are\n{shown}")
    return {
        "data_digest": rules.data_digest,
        "train": rules.images["train"],
        "validation": rules.images["test"],
        "validation_manifest": _write_transform_manifest(bucket, event["run"]),
    }


def _manifest(bucket: str) -> dict[str, Any]:
    """data_prep's manifest of the data set; empty if data_prep did not build it."""
    try:
        return read_json(aws.s3().get_object(Bucket=bucket, Key=MANIFEST_KEY)["Body"], name=MANIFEST_KEY)
    except aws.s3().exceptions.NoSuchKey:
        return {}


def _write_transform_manifest(bucket: str, run: str) -> str:
    """Write the list of validation images for Batch Transform, which would otherwise read every object of the prefix.

    Format: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_TransformS3DataSource.html
    """
    key = f"retraining/{run}/validation.manifest"
    prefix = f"s3://{bucket}/{SPLITS['test'][0]}"
    content = [{"prefix": prefix}, *(line.path for line in validation_lines(bucket))]
    aws.s3().put_object(Bucket=bucket, Key=key, Body=json.dumps(content).encode(), ContentType="application/json")
    return key


def _in_order(pool: ThreadPoolExecutor, check: Any, lines: Iterator[ListLine]) -> Iterator[CheckedImage]:
    """The results in the order of the lines, with a bounded number of checks in progress."""
    in_progress: deque[Future[CheckedImage]] = deque()
    for line in lines:
        in_progress.append(pool.submit(check, line))
        if len(in_progress) >= _IN_MEMORY:
            yield in_progress.popleft().result()
    while in_progress:
        yield in_progress.popleft().result()
