"""Classifier: invoke the endpoint for the probability of each class."""

import base64
import binascii
from datetime import UTC, datetime, timedelta

from botocore.exceptions import BotoCoreError, ClientError

from lambda_src.shared import aws, metrics, settings
from lambda_src.shared.endpoint import invoke_endpoint
from lambda_src.shared.errors import (
    EndpointMisconfiguredError,
    EndpointPausedError,
    EndpointUnavailableError,
    InvalidInputError,
    StorageUnavailableError,
    WaitingForEndpointError,
)
from lambda_src.shared.item import ImageRef, Item
from lambda_src.shared.pause import Pause, last_pause
from lambda_src.shared.predictions import best_class, parse_probabilities

# A request that failed may have been sent before a resume this recent: longer than the function's time-out and than the
# difference between two clocks
_JUST_NOW = timedelta(minutes=5)


@metrics.counting_errors
def handler(event: Item, _context: object) -> Item:
    """Takes an item with `image_data`; returns it without the image, with `inferences` (one probability for each class,
    in label order), `label` and `confidence`.

    Raises EndpointUnavailableError, EndpointMisconfiguredError, ImageRefusedError or InvalidPredictionError. While the
    endpoint is paused, raises WaitingForEndpointError or EndpointPausedError.
    """
    image = ImageRef.of(event)
    try:
        body = invoke_endpoint(decode(event), settings.endpoint_name(), image)
    except (EndpointMisconfiguredError, EndpointUnavailableError) as error:
        pause = last_pause()
        if pause is None:
            raise
        raise wait(image, pause) or error from error
    probabilities = parse_probabilities(body, settings.classes())
    label, confidence = best_class(probabilities)
    return {
        **event,
        "image_data": "",  # no later step needs it, and a state holds 256 KiB
        "inferences": probabilities,
        "label": settings.classes()[label],
        "confidence": confidence,
    }


def decode(item: Item) -> bytes:
    """The image's bytes from the item's base64; raises InvalidInputError."""
    image_data = item.get("image_data")
    if not isinstance(image_data, str) or not image_data:
        raise InvalidInputError("image_data is empty: SerializeImageData has not run on this item")
    try:
        return base64.b64decode(image_data, validate=True)
    except binascii.Error as error:
        raise InvalidInputError(f"image_data is not base64: {error}") from error


def wait(image: ImageRef, pause: Pause) -> Exception | None:
    """The error to raise for an image whose endpoint could not be invoked; None if the pause does not explain it.

    Records that the image waits, and then reads the pause again. If the pause still lasts, the resume, which ends it
    before it lists the records, finds this one. If it is over, the endpoint can be invoked.
    """
    since = pause.paused_at.isoformat(timespec="seconds")
    resumed = EndpointUnavailableError(f"endpoint {settings.endpoint_name()} has just been resumed")
    if pause.resumed_at:  # perhaps after the request was sent
        return resumed if datetime.now(UTC) - pause.resumed_at < _JUST_NOW else None
    if image.bucket != settings.bucket_name():
        return EndpointPausedError(
            f"endpoint {settings.endpoint_name()} is paused since {since}, and {image.uri} is in another bucket, whose "
            "images cannot wait: resume the endpoint, and start the image again"
        )
    record = f"{pause.waiting}{image.version_id}/{image.key}"
    try:
        aws.s3().put_object(Bucket=image.bucket, Key=record, Body=b"")
    except (BotoCoreError, ClientError) as error:
        return StorageUnavailableError(f"{record} could not be written ({error})")
    if last_pause() != pause:
        return resumed
    return WaitingForEndpointError(
        f"endpoint {settings.endpoint_name()} is paused since {since}: the image is classified when it is resumed"
    )
