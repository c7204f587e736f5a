"""ValidateDataSet: is what lies in the bucket fit to train on? The checks of `data_prep validate`, in the cloud.

One pass, in the order of the `.lst` files, with a bounded number of images in memory: each costs one GET, and its name
and digest afterwards. What needs a decoder stays with data_prep: blank images, and the same pixels in two encodings.
"""

import json
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import Any

from botocore.exceptions import ClientError

from lambda_src import aws, settings
from lambda_src.errors import ImageError
from lambda_src.image_format import check_image, image_size
from lambda_src.json_reader import read_json
from lambda_src.lst_file import DataDigest, ListLine, parse_lines
from lambda_src.retraining_errors import InvalidDataSetError

# Prefix of the images and key of the .lst file of each split, as data_prep uploads them
SPLITS = {"train": ("train/", "train_lst/train.lst"), "test": ("test/", "test_lst/test.lst")}
MANIFEST_KEY = "manifest.json"
MAX_IMAGES = 200_000  # of both splits; benchmarks/validation.py: a quarter of the function's 15 minutes
MAX_IMAGE_BYTES = 32 << 20
SHOWN = 10
_IN_MEMORY = 2 * aws.MAX_CONNECTIONS


@dataclass(frozen=True)
class Checked:
    """What a worker found: digests of the image's bytes, or why it must not be trained on."""

    line: ListLine
    sha256: str = ""
    fingerprint: bytes = b""
    reason: str = ""


class Validation:
    """What is known while lines go by: small values for each image, never the image."""

    def __init__(self, bucket: str, size: int | None) -> None:
        self._bucket = bucket
        self._size = size
        self._seen: dict[bytes, str] = {}
        self.digest = DataDigest()
        self.images = dict.fromkeys(SPLITS, 0)
        self.labels: set[int] = set()
        self.problems: list[str] = []
        self.problem_count = 0

    def problem(self, where: str, reason: str) -> None:
        self.problem_count += 1
        if len(self.problems) < SHOWN:
            self.problems.append(f"{where}: {reason}")

    def check_split(self, split: str) -> None:
        prefix, list_key = SPLITS[split]
        indexes: set[int] = set()
        with ThreadPoolExecutor(aws.MAX_CONNECTIONS) as pool:
            for checked in _in_order(pool, lambda line: self._check(prefix, line), self._lines(split, indexes)):
                if not checked.reason:
                    self.digest.add(split, checked.line, checked.sha256)
                    checked = self._check_unique(f"{prefix}{checked.line.path}", checked)  # noqa: PLW2901
                if checked.reason:
                    self.problem(f"{prefix}{checked.line.path}", checked.reason)
                else:
                    self.images[split] += 1
        if not self.images[split]:
            self.problem(list_key, "has no good image")

    def _lines(self, split: str, indexes: set[int]) -> Iterator[ListLine]:
        _, list_key = SPLITS[split]
        for number, line in parse_lines(_text_lines(self._bucket, list_key)):
            where = f"{list_key}:{number}"
            if isinstance(line, ValueError):
                self.problem(where, str(line))
                continue
            if line.index in indexes:
                self.problem(where, f"index {line.index} is not unique")
            if len(indexes) >= MAX_IMAGES:
                raise InvalidDataSetError(f"{list_key} names more than {MAX_IMAGES:,} images; validate it in slices")
            indexes.add(line.index)
            self.labels.add(line.label)
            yield line

    def _check(self, prefix: str, line: ListLine) -> Checked:
        key = f"{prefix}{line.path}"
        try:
            answer = aws.s3().get_object(Bucket=self._bucket, Key=key)
            if answer["ContentLength"] > MAX_IMAGE_BYTES:
                answer["Body"].close()
                return Checked(line, reason=f"has {answer['ContentLength']:,} bytes, more than {MAX_IMAGE_BYTES:,}")
            data = answer["Body"].read()
            check_image(data, name="")
        except ImageError as error:
            return Checked(line, reason=str(error).removesuffix(": "))
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"NoSuchKey", "AccessDenied"}:
                raise
            return Checked(line, reason="no such object")
        size = image_size(data)
        if self._size and size != (self._size, self._size):
            return Checked(line, reason=f"is {size[0]}x{size[1]}, not {self._size}x{self._size} pixels")
        return Checked(line, sha256(data).hexdigest(), blake2b(data, digest_size=16).digest())

    def _check_unique(self, name: str, checked: Checked) -> Checked:
        first = self._seen.setdefault(checked.fingerprint, name)
        if first is name:
            return checked
        leak = "" if first.partition("/")[0] == name.partition("/")[0] else ", in the other split"
        return Checked(checked.line, reason="listed twice" if first == name else f"same bytes as {first}{leak}")


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Takes `{"run"}`; answers the data's digest and sizes, and the key of the list of validation images.

    Raises InvalidDataSetError with the first problems.
    """
    bucket, classes = settings.retraining().bucket_name, settings.retraining().classes
    manifest = _manifest(bucket)
    validation = Validation(bucket, manifest.get("parameters", {}).get("image_size"))
    for split in SPLITS:
        validation.check_split(split)
    data_digest = validation.digest.hexdigest()
    if validation.labels != set(range(len(classes))):
        found = ", ".join(map(str, sorted(validation.labels)[:SHOWN]))
        validation.problem(SPLITS["train"][1], f"has the labels {found}, but {', '.join(classes)} need each of 0 to "
                           f"{len(classes) - 1}")  # fmt: skip
    if manifest and manifest["data_digest"] != data_digest and not validation.problem_count:
        validation.problem(MANIFEST_KEY, "images or .lst files are not those that were built: the data digest differs")
    if validation.problem_count:
        raise InvalidDataSetError(
            f"s3://{bucket}: {validation.problem_count} problems, the first are\n" + "\n".join(validation.problems)
        )
    return {
        "data_digest": data_digest,
        "train": validation.images["train"],
        "validation": validation.images["test"],
        "validation_manifest": _write_transform_manifest(bucket, event["run"]),
    }


def _manifest(bucket: str) -> dict[str, Any]:
    """What data_prep wrote about the data set; empty for one that somebody else made."""
    try:
        return read_json(aws.s3().get_object(Bucket=bucket, Key=MANIFEST_KEY)["Body"], name=MANIFEST_KEY)
    except aws.s3().exceptions.NoSuchKey:
        return {}


def _text_lines(bucket: str, key: str) -> Iterator[str]:
    """A text object's lines, streamed; raises InvalidDataSetError if there is none."""
    try:
        body = aws.s3().get_object(Bucket=bucket, Key=key)["Body"]
    except aws.s3().exceptions.NoSuchKey:
        raise InvalidDataSetError(f"s3://{bucket}/{key} does not exist: upload a data set first") from None
    for line in body.iter_lines():
        yield line.decode("utf-8", "surrogateescape")


def validation_lines(bucket: str) -> Iterator[ListLine]:
    """The validation images of a data set that has been checked."""
    for _, line in parse_lines(_text_lines(bucket, SPLITS["test"][1])):
        if isinstance(line, ListLine):
            yield line


def _write_transform_manifest(bucket: str, run: str) -> str:
    """Batch Transform is given exactly the images of the list, whatever else lies below the prefix.

    Format: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_TransformS3DataSource.html
    """
    key = f"retraining/{run}/validation.manifest"
    prefix = f"s3://{bucket}/{SPLITS['test'][0]}"
    content = [{"prefix": prefix}, *(line.path for line in validation_lines(bucket))]
    aws.s3().put_object(Bucket=bucket, Key=key, Body=json.dumps(content).encode(), ContentType="application/json")
    return key


def _in_order(pool: ThreadPoolExecutor, check: Any, lines: Iterator[ListLine]) -> Iterator[Checked]:
    """The results in the lines' order, with a bounded number under way."""
    under_way: deque[Future[Checked]] = deque()
    for line in lines:
        under_way.append(pool.submit(check, line))
        if len(under_way) >= _IN_MEMORY:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()
