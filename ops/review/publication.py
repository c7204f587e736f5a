"""Adds reviewed pictures to the data set in the bucket, and starts retraining.

A picture is checked as `data_prep build` checks its own, resized to the size of the data set's images, and named by the
SHA-256 of its file, so no name is taken twice. One in five goes to the validation list, by a hash of its pixels. But
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
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from data_prep.dataset import IMAGES, MANIFEST, Manifest, ReviewedImage
from data_prep.progress import Progress, silent
from lambda_src.shared.item import ImageRef
from ops import aws
from ops.errors import OpsError
from ops.review.data_set import DataSetImage, StoredDataSet
from ops.review.near_duplicates import Alike, signature
from ops.review.pictures import Picture
from ops.review.records import Records, Review
from stacks.config import EnvironmentConfig
from stacks.shared import prefixes

ATTEMPTS = 5
# S3's errors when the condition of a write does not hold, or another write was faster
_OVERTAKEN = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class LeftOut:
    """A labelled picture that cannot be published, and the reason."""

    uri: str
    reason: str


@dataclass(frozen=True)
class Publication:
    """What a publication changed, and which reviewed pictures the data set now has."""

    added: dict[str, int]  # by split
    relabelled: int
    removed: int
    published: int  # in all
    neither: int
    left_out: tuple[LeftOut, ...]
    data_digest: str
    started: bool  # whether the marker that starts retraining was written

    @property
    def is_changed(self) -> bool:
        return bool(sum(self.added.values()) or self.relabelled or self.removed)


class _OvertakenError(Exception):
    """When somebody else changed the data set meanwhile."""


def publish(config: EnvironmentConfig, *, records: Records | None = None, progress: Progress = silent) -> Publication:
    """Bring the reviewed pictures into the environment's data set; raises OpsError or DataPrepError."""
    bucket = aws.bucket(config)
    publisher = _Publisher(
        bucket=bucket,
        machine=aws.retraining_machine(config),
        classes=config.classes,
        reviews=(records or Records(bucket)).refresh(),
        progress=progress,
    )
    for _ in range(ATTEMPTS):
        try:
            return publisher.publish()
        except _OvertakenError:
            continue
    raise OpsError(
        f"s3://{bucket}: the data set changed {ATTEMPTS} times while it was read: others publish or upload; try again"
    )


def not_published(reviews: Iterable[Review], manifest: Manifest | None) -> list[Review]:
    """The labelled pictures that the data set lacks, or has with another label."""
    known = {_id_of(image): manifest.classes[image.label] for image in manifest.reviewed} if manifest else {}
    return [r for r in reviews if r.decision == "labelled" and known.get(r.outcome.id) != r.label]


@dataclass(frozen=True)
class _Publisher:
    bucket: str
    machine: str
    classes: tuple[str, ...]
    reviews: Mapping[str, Review]
    progress: Progress
    pictures: dict[str, Picture] = field(default_factory=dict)  # decoded, for another attempt

    def publish(self) -> Publication:
        """One attempt; raises _OvertakenError."""
        before = StoredDataSet.read(self.bucket, self.classes)
        labelled = {i: review for i, review in self.reviews.items() if review.decision == "labelled"}
        known = {_id_of(image): image for image in before.manifest.reviewed}
        kept = [
            dataclasses.replace(image, label=self.classes.index(label))
            for identifier, image in known.items()
            if identifier in labelled and (label := labelled[identifier].label) in self.classes
        ]
        images = self._look_at(before, [f"{IMAGES[image.split]}{image.path}" for image in kept])
        new = self._decoded([review for i, review in labelled.items() if i not in known], size=before.image_size)
        added, left_out = self._place(new, images)
        reviewed = sorted([*kept, *(image for image, _ in added)], key=lambda image: (image.split, image.path))
        after, lists = before.with_reviewed(reviewed, images)
        contents = {**lists, MANIFEST: after.as_json()}  # the manifest last
        if any(content != before.objects[key].content for key, content in contents.items()):
            self._check_nothing_runs()
            self._write_images(added)
            # Unchanged documents are written, too, so that the slower of two concurrent publications notices
            for key, content in contents.items():
                content_type = "application/json" if key == MANIFEST else "text/plain"
                self._put(key, content, content_type, IfMatch=before.objects[key].etag)
        return Publication(
            added={split: sum(image.split == split for image, _ in added) for split in IMAGES},
            relabelled=sum(image not in before.manifest.reviewed for image in kept),
            removed=len(known) - len(kept),
            published=len(reviewed),
            neither=sum(review.decision == "neither" for review in self.reviews.values()),
            left_out=tuple(left_out),
            data_digest=after.data_digest,
            started=self._start(after),
        )

    def _look_at(self, data_set: StoredDataSet, published: Sequence[str]) -> dict[str, DataSetImage]:
        """The data set's images by key; raises OpsError if they do not match the manifest."""
        keys = [*data_set.keys(), *published]
        images = dict(zip(keys, self._in_parallel(data_set.image, keys, "Reading the data set"), strict=True))
        data_set.check(images)
        return images

    def _decoded(self, reviews: Sequence[Review], *, size: int) -> list[Picture]:
        missing = [review for review in reviews if review.outcome.id not in self.pictures]
        read = self._in_parallel(lambda review: Picture.of(review, size=size), missing, "Reading reviewed pictures")
        self.pictures.update({picture.review.outcome.id: picture for picture in read})
        return [self.pictures[review.outcome.id] for review in reviews]

    def _place(
        self, pictures: Sequence[Picture], images: Mapping[str, DataSetImage]
    ) -> tuple[list[tuple[ReviewedImage, bytes]], list[LeftOut]]:
        """The split and file of each new picture, and the pictures that are omitted."""
        labels: dict[bytes, set[str]] = {}
        for picture in pictures:
            labels.setdefault(picture.fingerprint, set()).add(str(picture.review.label))
        alike, same = Alike(), {image.fingerprint: key for key, image in images.items()}
        for split, prefix in IMAGES.items():
            alike.add(split, [image.signature for key, image in images.items() if key.startswith(prefix)])
        added: list[tuple[ReviewedImage, bytes]] = []
        left_out: list[LeftOut] = []
        for picture in sorted(pictures, key=lambda picture: (picture.path, picture.review.outcome.image.uri)):
            of, label = picture.review.outcome.image, str(picture.review.label)
            near: set[str] = set()
            reason = picture.reason
            if not reason and label not in self.classes:
                reason = f"{label!r} is not one of {', '.join(self.classes)}"
            elif not reason and len(labels[picture.fingerprint]) > 1:
                reason = f"the same picture has several labels: {', '.join(sorted(labels[picture.fingerprint]))}"
            elif not reason and picture.fingerprint in same:
                reason = f"the same picture as {same[picture.fingerprint]}"
            elif not reason and len(near := alike.splits(signature(picture.pixels))) > 1:
                reason = "both the training and the validation images have a near-duplicate of it"
            if reason:
                left_out.append(LeftOut(of.uri, reason))
                continue
            split = near.pop() if near else picture.split
            image = ReviewedImage(split, self.classes.index(label), picture.path, of.bucket, of.key, of.version_id)
            added.append((image, picture.png))
            alike.add(split, [signature(picture.pixels)])
            same[picture.fingerprint] = of.uri
        return added, left_out

    def _check_nothing_runs(self) -> None:
        """Raise OpsError during a run, because its training job reads the data set after it was validated."""
        running = aws.stepfunctions().list_executions(stateMachineArn=self.machine, statusFilter="RUNNING")
        for execution in running["executions"]:
            raise OpsError(
                f"a retraining run is in progress since {execution['startDate']:%Y-%m-%d %H:%M:%S}, and would not "
                f"train on these pictures: publish when it has ended ({execution['executionArn']})"
            )

    def _write_images(self, added: Sequence[tuple[ReviewedImage, bytes]]) -> None:
        def write(pair: tuple[ReviewedImage, bytes]) -> None:
            image, png = pair
            try:
                self._put(f"{IMAGES[image.split]}{image.path}", png, "image/png", IfNoneMatch="*")
            except _OvertakenError:
                return  # the same file exists: its name is its digest

        list(self._in_parallel(write, added, "Writing reviewed pictures"))

    def _put(self, key: str, content: bytes, content_type: str, **condition: Any) -> None:
        """Write a document; raises _OvertakenError if the condition does not hold."""
        try:
            aws.s3().put_object(
                Bucket=self.bucket,
                Key=key,
                Body=content,
                ChecksumSHA256=base64.b64encode(sha256(content).digest()).decode(),
                ContentType=content_type,
                **condition,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] not in _OVERTAKEN:
                raise
            raise _OvertakenError from None

    def _start(self, manifest: Manifest) -> bool:
        """Write the marker, which starts a run, unless it was written for the same data set."""
        if not manifest.reviewed:
            return False
        condition = {"IfNoneMatch": "*"}
        try:
            answer = aws.s3().get_object(Bucket=self.bucket, Key=prefixes.READY_MARKER)
            if answer["Body"].read() == manifest.data_digest.encode():
                return False
            condition = {"IfMatch": answer["ETag"]}
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
        try:
            self._put(prefixes.READY_MARKER, manifest.data_digest.encode(), "text/plain", **condition)
        except _OvertakenError:
            return False  # another publication has started it
        return True

    def _in_parallel(self, function: Callable[[T], U], items: Sequence[T], stage: str) -> Iterable[U]:
        with ThreadPoolExecutor(aws.MAX_CONNECTIONS) as pool:
            for done, result in enumerate(pool.map(function, items), 1):
                self.progress(stage, done, len(items))
                yield result


def _id_of(image: ReviewedImage) -> str:
    return ImageRef(image.s3_bucket, image.s3_key, image.s3_version_id).inference_id
