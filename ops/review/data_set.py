"""Reads the data set in the bucket for a publication, and composes its next version."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from botocore.exceptions import ClientError

from data_prep.dataset import IMAGES, LISTS, MANIFEST, Manifest, ReviewedImage, Split, list_text
from data_prep.images import BadImageError, decode, fingerprint
from lambda_src.retraining.lst_file import REVIEWED, DataDigest, ListLine, parse_lines
from ops import aws
from ops.errors import OpsError
from ops.review.near_duplicates import Signature, signature

_GONE = {"NoSuchKey", "NoSuchBucket"}


@dataclass(frozen=True)
class StoredObject:
    content: bytes
    etag: str


@dataclass(frozen=True)
class DataSetImage:
    """File digest, pixel fingerprint and signature of an image of the data set."""

    sha256: str
    fingerprint: bytes
    signature: Signature


@dataclass(frozen=True)
class StoredDataSet:
    """A data set in a bucket. lines: the list lines of its original images, by split."""

    bucket: str
    manifest: Manifest
    objects: Mapping[str, StoredObject]  # of the lists and the manifest, by key
    lines: Mapping[str, Sequence[ListLine]]

    @classmethod
    def read(cls, bucket: str, classes: tuple[str, ...]) -> "StoredDataSet":
        """Raises OpsError or DataSetError unless the bucket has a data set of data_prep with these classes."""
        objects = {key: _stored(bucket, key) for key in (MANIFEST, *LISTS.values())}
        manifest = Manifest.parse(objects[MANIFEST].content, name=f"s3://{bucket}/{MANIFEST}")
        if manifest.classes != classes:
            raise OpsError(
                f"s3://{bucket} has a data set of {', '.join(manifest.classes)}, and the environment's classes are "
                f"{', '.join(classes)}: build and upload one of these with data_prep"
            )
        lines = {}
        for split, key in LISTS.items():
            parsed = [line for _, line in parse_lines(objects[key].content.decode("utf-8", "replace").splitlines())]
            if wrong := [line for line in parsed if isinstance(line, ValueError)]:
                raise OpsError(f"s3://{bucket}/{key}: {wrong[0]}; upload the data set again")
            lines[split] = [line for line in parsed if isinstance(line, ListLine) and line.source == "original"]
        return cls(bucket, manifest, objects, lines)

    @property
    def image_size(self) -> int:
        return int(self.manifest.parameters["image_size"])

    def keys(self) -> list[str]:
        """Keys of the original images, in the order of the lists."""
        return [f"{IMAGES[split]}{line.path}" for split, lines in self.lines.items() for line in lines]

    def image(self, key: str) -> DataSetImage:
        """Read one image; raises OpsError."""
        try:
            data = aws.s3().get_object(Bucket=self.bucket, Key=key)["Body"].read()
            pixels = decode(data, size=self.image_size)
            return DataSetImage(sha256(data).hexdigest(), fingerprint(pixels), signature(pixels))
        except BadImageError as error:
            raise self._differs(f"{key} {error}") from None
        except ClientError as error:
            if error.response["Error"]["Code"] not in _GONE:
                raise
            raise self._differs(f"{key} does not exist") from None

    def check(self, images: Mapping[str, DataSetImage]) -> None:
        """Raise OpsError unless the original images and their lines match the manifest."""
        digest = DataDigest()
        for split, lines in self.lines.items():
            for line in lines:
                digest.add(split, line, images[f"{IMAGES[split]}{line.path}"].sha256)
        if digest.hexdigest() != (self.manifest.original_digest or self.manifest.data_digest):
            raise self._differs("the data digest differs")

    def with_reviewed(
        self, reviewed: Sequence[ReviewedImage], images: Mapping[str, DataSetImage]
    ) -> tuple[Manifest, dict[str, bytes]]:
        """The manifest and the lists, by key, with the original images followed by exactly these reviewed ones."""
        digest, lists, splits = DataDigest(), {}, {}
        for split, own in self.lines.items():
            first = max((line.index for line in own), default=-1) + 1
            added = [image for image in reviewed if image.split == split]
            lines = [*own, *(ListLine(first + n, image.label, image.path) for n, image in enumerate(added))]
            for line in own:
                digest.add(split, line, images[f"{IMAGES[split]}{line.path}"].sha256)
            for line in lines[len(own) :]:
                digest.add(split, line, line.path.removeprefix(REVIEWED).removesuffix(".png"))
            counts = Counter(line.label for line in lines)
            splits[split] = Split(
                counts={name: counts[label] for label, name in enumerate(self.manifest.classes)},
                total=len(lines),
                rejected=self.manifest.splits[split].rejected,
            )
            lists[LISTS[split]] = list_text(lines)
        original = self.manifest.original_digest or self.manifest.data_digest
        manifest = dataclasses.replace(
            self.manifest,
            splits=splits,
            data_digest=digest.hexdigest(),
            reviewed=tuple(reviewed),
            original_digest=original if reviewed else "",
        )
        return manifest, lists

    def _differs(self, reason: str) -> OpsError:
        return OpsError(
            f"s3://{self.bucket}: the data set is not what its manifest says ({reason}): if it is not being uploaded "
            "at this moment, upload it again with `python -m data_prep upload`"
        )


def _stored(bucket: str, key: str) -> StoredObject:
    try:
        answer = aws.s3().get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _GONE:
            raise
        raise OpsError(
            f"s3://{bucket}/{key} does not exist, and reviewed pictures are added to a data set: upload one with "
            "`python -m data_prep upload`"
        ) from None
    return StoredObject(answer["Body"].read(), answer["ETag"])
