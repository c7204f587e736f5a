"""Finds the image and the model of a capture, which the capture itself does not name.

A capture has an inference id, the hash of the image's bucket, key and version: the bucket's images are listed until the
image with that id is found. The model follows from the time, because `releases/` records what was in service when.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain

from botocore.exceptions import ClientError

from lambda_src.monitoring.captures import Capture
from lambda_src.retraining.release import job_of
from lambda_src.shared.item import ImageRef
from lambda_src.shared.release_history import Record, read_records
from ops import aws
from ops.lineage import serving_at
from stacks.config import EnvironmentConfig
from stacks.shared import prefixes

# The prefixes from which the workflows read images
IMAGES = (prefixes.INCOMING, prefixes.SCHEDULED, prefixes.TEST)


class Origins:
    """Images by inference id and models by time; by default, nothing is known.

    images: consumed only as far as needed.
    """

    def __init__(self, images: Iterable[ImageRef] = (), records: Sequence[Record] = ()) -> None:
        self._listing = iter(images)
        self._images: dict[str, ImageRef] = {}
        self._records = records
        self._times = [datetime.fromisoformat(record.time) for record in records]
        self._models: dict[int, str] = {}  # by number of earlier records

    @classmethod
    def of_environment(cls, config: EnvironmentConfig) -> "Origins":
        """Raises DataPrepError if the environment is not deployed."""
        bucket = aws.bucket(config)
        versions: Iterator[ImageRef] = chain.from_iterable(aws.object_versions(bucket, prefix) for prefix in IMAGES)
        return cls(versions, read_records(aws.s3(), bucket))

    @property
    def served(self) -> str:
        """The training job of the latest model in service; empty if there is none."""
        return next((job_of(record.artifact_uri) for record in reversed(self._records) if record.is_in_service), "")

    def image_of(self, capture: Capture) -> ImageRef | None:
        """None if the image is unknown or has been deleted."""
        wanted = capture.inference_id
        if wanted is None:
            return None
        while wanted not in self._images:
            image = next(self._listing, None)
            if image is None:
                return None
            self._images[image.inference_id] = image
        return self._images[wanted]

    def picture_of(self, capture: Capture, *, at_most: int) -> bytes | None:
        """The captured image, else the stored one, unless that is deleted or larger than `at_most` bytes."""
        picture = capture.image()
        image = self.image_of(capture) if picture is None else None
        if image is None:
            return picture
        try:
            stored = aws.s3().get_object(Bucket=image.bucket, Key=image.key, VersionId=image.version_id or "null")
        except ClientError:  # deleted since
            return None
        return stored["Body"].read() if stored["ContentLength"] <= at_most else None

    def model_of(self, capture: Capture) -> str:
        """The training job of the model; `A or B` while B was replacing A; empty if unknown."""
        before = bisect_right(self._times, capture.time)
        if before not in self._models:
            served = serving_at(self._records, capture.time)
            self._models[before] = " or ".join(job_of(record.artifact_uri) for record in served)
        return self._models[before]
