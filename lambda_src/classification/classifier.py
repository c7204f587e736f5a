"""Classifier: ask the endpoint for the probability of each class."""

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

_JUST_NOW = timedelta(minutes=5)  # longer than the function takes, and than two clocks differ


@metrics.counting_errors
def handler(event: Item, _context: object) -> Item:
    """Takes an item with `image_data`; answers it with `inferences` (one probability for each class, in the classes'
    order), `label` and `confidence` in place of the image.

    Raises EndpointUnavailableError, EndpointMisconfiguredError, ImageRefusedError or InvalidPredictionError; while the
    endpoint is paused WaitingForEndpointError or EndpointPausedError.
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
        "image_data": "",  # it has served; results stay small
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
    """What to raise for an image whose endpoint could not be invoked, by its last pause; None for the error itself.

    The record is written before the pause is read again. So it is there before the resume lists the records, or else
    the pause is over by then and the endpoint can be invoked.
    """
    since = pause.paused_at.isoformat(timespec="seconds")
    resumed = EndpointUnavailableError(f"endpoint {settings.endpoint_name()} was resumed this moment")
    if pause.resumed_at:  # maybe since the request
        return resumed if datetime.now(UTC) - pause.resumed_at < _JUST_NOW else None
    if image.bucket != settings.bucket_name():
        return EndpointPausedError(
            f"endpoint {settings.endpoint_name()} is paused since {since}, and {image.uri} is in another bucket, of "
            "which no list is kept: resume the endpoint, and start it again"
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
