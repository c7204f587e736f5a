"""Reviewed pictures become part of the data set in the bucket, and retraining starts.

A picture is checked as `data_prep build` checks its own, resized to the size of the data set's images, and named by the
SHA-256 of its file, so no name is taken twice. One in five goes to the validation list, by a hash of its pixels; but
where the data set has a near-duplicate already, it goes to the same list as that one, and an equal picture is left out.
A picture stays in the list in which it once was.

The data set is what its manifest says: ValidateDataSet refuses lists and images with another digest. So images are
written first, which no list names yet, then the lists, then the manifest, then the marker that starts retraining: a
reader sees all of the data set before, all of it afterwards, or refuses. Each list and the manifest are written only if
they are still those that were read. Whoever loses such a race, or finds what an interrupted publication left, begins
again with what is there; what is published follows from the reviews and the data set alone.
"""

import base64
import dataclasses
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeVar

import numpy as np
from botocore.exceptions import ClientError
from numpy.typing import NDArray
from PIL import Image

from data_prep.aws_errors import DENIED
from data_prep.dataset import IMAGES, LISTS, MANIFEST, Manifest, ReviewedImage, Split, list_text
from data_prep.images import BadImageError, decode, encode_png, fingerprint
from data_prep.progress import Progress, silent
from lambda_src.retraining.data_set_rules import size_problem
from lambda_src.retraining.lst_file import REVIEWED, DataDigest, ListLine, parse_lines
from lambda_src.shared.item import ImageRef
from ops import aws
from ops.errors import OpsError
from ops.review.near_duplicates import Alike, Signature, signature
from ops.review.records import Records, Review
from stacks.config import EnvironmentConfig
from stacks.shared import prefixes

VALIDATION_PERCENT = 20
ATTEMPTS = 5
_OVERTAKEN = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}
_GONE = {"NoSuchKey", "NoSuchVersion", "MethodNotAllowed"}

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class LeftOut:
    """A labelled picture that is not published."""

    uri: str
    reason: str


@dataclass(frozen=True)
class Publication:
    """What the data set has of the reviews now, and what this publication changed."""

    added: dict[str, int]  # by split
    relabelled: int
    removed: int
    published: int  # in all
    neither: int
    left_out: tuple[LeftOut, ...]
    data_digest: str
    started: bool  # whether the marker was written that starts retraining

    @property
    def is_changed(self) -> bool:
        return bool(sum(self.added.values()) or self.relabelled or self.removed)


@dataclass(frozen=True)
class _Object:
    content: bytes
    etag: str


@dataclass(frozen=True)
class _DataSet:
    """The data set as it lies in the bucket; lines: those of its own images, by split."""

    manifest: Manifest
    objects: Mapping[str, _Object]  # the lists and the manifest, by key
    lines: Mapping[str, Sequence[ListLine]]


@dataclass(frozen=True)
class _Looked:
    """What is remembered of an image of the data set."""

    sha256: str
    fingerprint: bytes
    signature: Signature


@dataclass(frozen=True)
class _Picture:
    """A reviewed picture as it can be added, or why it cannot."""

    review: Review
    png: bytes = b""
    pixels: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    fingerprint: bytes = b""
    reason: str = ""

    @property
    def path(self) -> str:
        return f"{REVIEWED}{sha256(self.png).hexdigest()}.png"

    @property
    def split(self) -> str:
        """Where it goes unless another picture is like it. The pixels, as an encoder may change with its version."""
        share = int.from_bytes(sha256(self.pixels.tobytes()).digest()[:4]) / 2**32
        return "test" if share * 100 < VALIDATION_PERCENT else "train"


class _OvertakenError(Exception):
    """When somebody else changed the data set meanwhile."""


def publish(config: EnvironmentConfig, *, records: Records | None = None, progress: Progress = silent) -> Publication:
    """Bring the reviewed pictures into the environment's data set; raises OpsError or DataPrepError."""
    bucket = aws.bucket(config)
    machine = aws.retraining_machine(config)
    reviews = (records or Records(bucket)).refresh()
    pictures: dict[str, _Picture] = {}  # that are decoded, whichever attempt needs them
    for _ in range(ATTEMPTS):
        try:
            return _Attempt(bucket, machine, config.classes, reviews, pictures, progress).publish()
        except _OvertakenError:
            continue
    raise OpsError(
        f"s3://{bucket}: the data set changed {ATTEMPTS} times while it was read: others publish or upload; try again"
    )


def not_published(reviews: Iterable[Review], manifest: Manifest | None) -> list[Review]:
    """The labelled pictures that the data set does not have as they are labelled."""
    known = {_id_of(image): image for image in manifest.reviewed} if manifest else {}
    return [
        review
        for review in reviews
        if review.decision == "labelled"
        and not (
            manifest
            and review.outcome.id in known
            and manifest.classes[known[review.outcome.id].label] == review.label
        )
    ]


class _Attempt:
    def __init__(
        self,
        bucket: str,
        machine: str,
        classes: tuple[str, ...],
        reviews: Mapping[str, Review],
        pictures: dict[str, _Picture],
        progress: Progress,
    ) -> None:
        self._bucket = bucket
        self._machine = machine
        self._classes = classes
        self._reviews = reviews
        self._pictures = pictures
        self._progress = progress

    def publish(self) -> Publication:
        before = self._read_data_set()
        labelled = {i: review for i, review in self._reviews.items() if review.decision == "labelled"}
        known = {_id_of(image): image for image in before.manifest.reviewed}
        kept = [
            dataclasses.replace(image, label=self._classes.index(label))
            for identifier, image in known.items()
            if identifier in labelled and (label := labelled[identifier].label) in self._classes
        ]
        looked = self._look_at(before, kept)
        added, left_out = self._add([r for i, r in labelled.items() if i not in known], before, kept, looked)
        images = sorted([*kept, *(image for image, _ in added)], key=lambda image: (image.split, image.path))
        after, lists = _with_reviewed(before, images, {key: found.sha256 for key, found in looked.items()})
        changed = {
            key: content
            for key, content in (*lists.items(), (MANIFEST, after.as_json()))
            if content != before.objects[key].content
        }
        if changed:
            self._check_nothing_runs()
            self._write_images(added)
            # Also what stays as it is: of two who publish at once, one finds the other's
            for key in (LISTS["test"], LISTS["train"], MANIFEST):
                self._replace(key, {**lists, MANIFEST: after.as_json()}[key], before.objects[key].etag)
        return Publication(
            added={split: sum(image.split == split for image, _ in added) for split in IMAGES},
            relabelled=sum(image not in before.manifest.reviewed for image in kept),
            removed=len(known) - len(kept),
            published=len(images),
            neither=sum(review.decision == "neither" for review in self._reviews.values()),
            left_out=tuple(left_out),
            data_digest=after.data_digest,
            started=self._start(after),
        )

    def _read_data_set(self) -> _DataSet:
        """Raises OpsError or DataSetError for what is no data set of data_prep with the environment's classes."""
        objects = {}
        for key in (MANIFEST, *LISTS.values()):
            try:
                answer = aws.s3().get_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if error.response["Error"]["Code"] not in _GONE:
                    raise
                raise OpsError(
                    f"s3://{self._bucket}/{key} does not exist, and reviewed pictures are added to a data set: upload "
                    "one with `python -m data_prep upload`"
                ) from None
            objects[key] = _Object(answer["Body"].read(), answer["ETag"])
        manifest = Manifest.parse(objects[MANIFEST].content, name=f"s3://{self._bucket}/{MANIFEST}")
        if manifest.classes != self._classes:
            raise OpsError(
                f"s3://{self._bucket} has a data set of {', '.join(manifest.classes)}, and the environment's classes "
                f"are {', '.join(self._classes)}: build and upload one of these with data_prep"
            )
        lines = {}
        for split, key in LISTS.items():
            parsed = [line for _, line in parse_lines(objects[key].content.decode("utf-8", "replace").splitlines())]
            if wrong := [line for line in parsed if isinstance(line, ValueError)]:
                raise OpsError(f"s3://{self._bucket}/{key}: {wrong[0]}; upload the data set again")
            lines[split] = [line for line in parsed if isinstance(line, ListLine) and line.source == "original"]
        return _DataSet(manifest, objects, lines)

    def _look_at(self, data_set: _DataSet, kept: Sequence[ReviewedImage]) -> dict[str, _Looked]:
        """Every image of the data set, by key; raises OpsError if they are not what the manifest says."""
        keys = [f"{IMAGES[split]}{line.path}" for split, lines in data_set.lines.items() for line in lines]
        keys += [f"{IMAGES[image.split]}{image.path}" for image in kept]
        size = int(data_set.manifest.parameters["image_size"])

        def look(key: str) -> _Looked:
            try:
                data = aws.s3().get_object(Bucket=self._bucket, Key=key)["Body"].read()
                pixels = decode(data, size=size)
                return _Looked(sha256(data).hexdigest(), fingerprint(pixels), signature(pixels))
            except BadImageError as error:
                raise self._is_not_the_manifests(f"{key} {error}") from None
            except ClientError as error:
                if error.response["Error"]["Code"] not in _GONE:
                    raise
                raise self._is_not_the_manifests(f"{key} does not exist") from None

        found = dict(zip(keys, self._in_parallel(look, keys, "Reading the data set"), strict=True))
        digest = DataDigest()
        for split, lines in data_set.lines.items():
            for line in lines:
                digest.add(split, line, found[f"{IMAGES[split]}{line.path}"].sha256)
        if digest.hexdigest() != (data_set.manifest.original_digest or data_set.manifest.data_digest):
            raise self._is_not_the_manifests("the data digest differs")
        return found

    def _is_not_the_manifests(self, reason: str) -> OpsError:
        return OpsError(
            f"s3://{self._bucket}: the data set is not what its manifest says ({reason}): if it is not being uploaded "
            "at this moment, upload it again with `python -m data_prep upload`"
        )

    def _add(
        self,
        reviews: Sequence[Review],
        data_set: _DataSet,
        kept: Sequence[ReviewedImage],
        looked: Mapping[str, _Looked],
    ) -> tuple[list[tuple[ReviewedImage, bytes]], list[LeftOut]]:
        """The new pictures with their files, and those that are left out."""
        size = int(data_set.manifest.parameters["image_size"])
        unknown = [review for review in reviews if review.outcome.id not in self._pictures]
        for picture in self._in_parallel(lambda review: self._picture(review, size), unknown, "Reading new pictures"):
            self._pictures[picture.review.outcome.id] = picture
        pictures = [self._pictures[review.outcome.id] for review in reviews]
        labels: dict[bytes, set[str | None]] = {}
        for picture in pictures:
            labels.setdefault(picture.fingerprint, set()).add(picture.review.label)
        alike, same = Alike(), {found.fingerprint: key for key, found in looked.items()}
        for split, prefix in IMAGES.items():
            alike.add(split, [found.signature for key, found in looked.items() if key.startswith(prefix)])
        added: list[tuple[ReviewedImage, bytes]] = []
        left_out: list[LeftOut] = []
        for picture in sorted(pictures, key=lambda picture: (picture.path, picture.review.outcome.image.uri)):
            of = picture.review.outcome.image
            reason = picture.reason or self._conflict(picture, labels, same)
            near: set[str] = set() if reason else alike.splits(signature(picture.pixels))
            if len(near) > 1:
                reason = "both the training and the validation images have near-duplicates of it"
            if reason:
                left_out.append(LeftOut(of.uri, reason))
                continue
            split = near.pop() if near else picture.split
            label = self._classes.index(str(picture.review.label))
            image = ReviewedImage(split, label, picture.path, of.bucket, of.key, of.version_id)
            added.append((image, picture.png))
            alike.add(split, [signature(picture.pixels)])
            same[picture.fingerprint] = f"{IMAGES[split]}{picture.path}"
        return added, left_out

    def _conflict(
        self, picture: _Picture, labels: Mapping[bytes, set[str | None]], same: Mapping[bytes, str]
    ) -> str:
        if len(labels[picture.fingerprint]) > 1:
            several = ", ".join(sorted(map(str, labels[picture.fingerprint])))
            return f"the same picture has several labels: {several}"
        if picture.fingerprint in same:
            return f"the same picture as {same[picture.fingerprint]}"
        return ""

    def _picture(self, review: Review, size: int) -> _Picture:
        """As the endpoint sees it: resized without regard to its proportions, alpha dropped."""
        if review.label not in self._classes:
            return _Picture(review, reason=f"{review.label!r} is not one of {', '.join(self._classes)}")
        try:
            pixels = decode(read_picture(review.outcome.image), size=None)
            pixels = np.asarray(Image.fromarray(pixels).resize((size, size)))
            return _Picture(review, encode_png(pixels), pixels, fingerprint(pixels))
        except BadImageError as error:
            return _Picture(review, reason=str(error))

    def _check_nothing_runs(self) -> None:
        """A training job reads the data set after it was validated, so a run must not see it change."""
        running = aws.stepfunctions().list_executions(stateMachineArn=self._machine, statusFilter="RUNNING")
        for execution in running["executions"]:
            raise OpsError(
                f"a retraining run is in progress since {execution['startDate']:%Y-%m-%d %H:%M:%S}, and would not train "
                f"on these pictures: publish when it has ended ({execution['executionArn']})"
            )

    def _write_images(self, added: Sequence[tuple[ReviewedImage, bytes]]) -> None:
        def write(image: ReviewedImage, png: bytes) -> None:
            try:
                self._put(f"{IMAGES[image.split]}{image.path}", png, "image/png", IfNoneMatch="*")
            except _OvertakenError:
                return  # the very file: its name is its digest

        list(self._in_parallel(lambda pair: write(*pair), added, "Writing new pictures"))

    def _replace(self, key: str, content: bytes, etag: str) -> None:
        self._put(key, content, "application/json" if key == MANIFEST else "text/plain", IfMatch=etag)

    def _put(self, key: str, content: bytes, content_type: str, **condition: Any) -> str:
        try:
            return aws.s3().put_object(
                Bucket=self._bucket,
                Key=key,
                Body=content,
                ChecksumSHA256=base64.b64encode(sha256(content).digest()).decode(),
                ContentType=content_type,
                **condition,
            )["ETag"]
        except ClientError as error:
            if error.response["Error"]["Code"] not in _OVERTAKEN:
                raise
            raise _OvertakenError from None

    def _start(self, manifest: Manifest) -> bool:
        """Write the marker unless it has been written for this very data set, as it starts a run each time."""
        if not manifest.reviewed:
            return False
        condition: dict[str, Any] = {"IfNoneMatch": "*"}
        try:
            answer = aws.s3().get_object(Bucket=self._bucket, Key=prefixes.READY_MARKER)
            if answer["Body"].read().decode("utf-8", "replace") == manifest.data_digest:
                return False
            condition = {"IfMatch": answer["ETag"]}
        except ClientError as error:
            if error.response["Error"]["Code"] not in _GONE:
                raise
        try:
            self._put(prefixes.READY_MARKER, manifest.data_digest.encode(), "text/plain", **condition)
        except _OvertakenError:
            return False  # whoever was faster has started it
        return True

    def _in_parallel(self, function: Callable[[T], U], items: Sequence[T], stage: str) -> Iterable[U]:
        with ThreadPoolExecutor(aws.MAX_CONNECTIONS) as pool:
            for done, result in enumerate(pool.map(function, items), 1):
                self._progress(stage, done, len(items))
                yield result


def _id_of(image: ReviewedImage) -> str:
    return ImageRef(image.s3_bucket, image.s3_key, image.s3_version_id).inference_id


def _with_reviewed(
    before: _DataSet, images: Sequence[ReviewedImage], digests: Mapping[str, str]
) -> tuple[Manifest, dict[str, bytes]]:
    """The data set's own images with these after them: its manifest, and its lists by key."""
    digest, lists, splits = DataDigest(), {}, {}
    classes = before.manifest.classes
    for split, own in before.lines.items():
        first = max((line.index for line in own), default=-1) + 1
        added = [image for image in images if image.split == split]
        lines = [*own, *(ListLine(first + n, image.label, image.path) for n, image in enumerate(added))]
        for line in lines:
            of_name = line.path.removeprefix(REVIEWED).removesuffix(".png")
            digest.add(split, line, digests.get(f"{IMAGES[split]}{line.path}", of_name))
        counts = Counter(line.label for line in lines)
        rejected = before.manifest.splits[split].rejected
        splits[split] = Split({name: counts[n] for n, name in enumerate(classes)}, len(lines), rejected)
        lists[LISTS[split]] = list_text(lines)
    manifest = dataclasses.replace(
        before.manifest,
        splits=splits,
        data_digest=digest.hexdigest(),
        reviewed=tuple(images),
        original_digest=before.manifest.original_digest or before.manifest.data_digest,
    )
    return manifest if images else dataclasses.replace(manifest, original_digest=""), lists


def read_picture(image: ImageRef) -> bytes:
    """The version of a picture that was reviewed; raises BadImageError if nobody can see it any more."""
    place = {"Bucket": image.bucket, "Key": image.key}
    try:
        if not image.version_id:
            return _body(aws.s3().get_object(**place))
        try:
            return _body(aws.s3().get_object(**place, VersionId=image.version_id))
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"InvalidArgument", "NoSuchVersion"}:
                raise
            # In a bucket that keeps no versions, the workflow knows an object by its ETag
            return _body(aws.s3().get_object(**place, IfMatch=f'"{image.version_id}"'))
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in {*_GONE, "NoSuchBucket", "PreconditionFailed"}:
            raise BadImageError("this version of it does not exist any more") from None
        if code in DENIED:
            raise BadImageError(f"may not be read ({code}): the caller needs s3:GetObjectVersion on it") from None
        raise


def _body(answer: Any) -> bytes:
    if reason := size_problem(answer["ContentLength"]):
        answer["Body"].close()
        raise BadImageError(reason)
    return bytes(answer["Body"].read())
