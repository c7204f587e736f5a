"""ReadTransformOutput: reads Batch Transform's prediction for one image, and returns what Classifier would return."""

from dataclasses import replace
from datetime import datetime

from botocore.exceptions import BotoCoreError, ClientError

from lambda_src.shared import aws, metrics, settings
from lambda_src.shared.errors import (
    ImageChangedError,
    InvalidInputError,
    NotTransformedError,
    StorageUnavailableError,
)
from lambda_src.shared.image_format import check_image
from lambda_src.shared.item import ImageRef, Item
from lambda_src.shared.predictions import best_class
from lambda_src.shared.stored_image import StoredImage, read_image
from lambda_src.shared.transform_output import output_keys, parse_output, read_output

MAX_IMAGE_BYTES = 6 << 20  # MaxPayloadInMB of the job


@metrics.counting_errors
def handler(event: Item, _context: object) -> Item:
    """Takes an item with the job's output prefix (`transform_output`) and input prefix (`input_prefix`), and with the
    time when the run started (`started_at`). Returns it with `inferences`, `label` and `confidence`.

    Checks the image as SerializeImageData does, because Batch Transform reads any object. Raises ImageChangedError,
    NotTransformedError or another ImageError.
    """
    image = ImageRef.of(event)
    output, input_prefix, started_at = (
        text_of(event, name, image) for name in ("transform_output", "input_prefix", "started_at")
    )
    # The job read the version that was current then, whichever version the item names
    stored = read_image(replace(image, version_id=None), at_most=MAX_IMAGE_BYTES)
    keys = output_keys(output, image_key=image.key, input_prefix=input_prefix)
    body = stored_output(keys, image, job_failure=event.get("job_failure"))
    check_is_what_was_read(stored, image, started_at=datetime.fromisoformat(started_at))
    check_image(stored.data, name=image.uri)
    probabilities = parse_output(body, settings.classes())
    label, confidence = best_class(probabilities)
    return {
        **event,
        "s3_version_id": stored.version_id,
        "inferences": probabilities,
        "label": settings.classes()[label],
        "confidence": confidence,
    }


def text_of(event: Item, name: str, image: ImageRef) -> str:
    value = event.get(name)
    if not isinstance(value, str):
        raise InvalidInputError(f"{name} must be a prefix, not {value!r}: {image.uri}")
    return value


def check_is_what_was_read(stored: StoredImage, image: ImageRef, *, started_at: datetime) -> None:
    """Raise ImageChangedError if the image is newer than the run: the job may have read an earlier version."""
    if stored.modified > started_at:
        raise ImageChangedError(
            f"changed at {stored.modified.isoformat()}, after the run started at {started_at.isoformat()}, so the "
            f"prediction may be for an earlier version: {image.uri}"
        )


def stored_output(keys: list[str], image: ImageRef, *, job_failure: object) -> bytes:
    """The job's output for the image. There is none for an image that the model refuses: raises NotTransformedError."""
    bucket = settings.bucket_name()
    try:
        body = read_output(aws.s3(), bucket, keys)
    except ClientError as error:
        if aws.is_transient(error):
            raise StorageUnavailableError(f"could not be read ({error}): {keys}") from error
        raise NotTransformedError(f"no prediction of Batch Transform ({error}): {image.uri}") from error
    except BotoCoreError as error:
        raise StorageUnavailableError(f"could not be read ({error}): {keys}") from error
    if body is None:
        reason = f"the job failed: {job_failure}" if job_failure else f"no {' or '.join(keys)}"
        raise NotTransformedError(f"no prediction of Batch Transform ({reason}): {image.uri}")
    return body
