"""Classifier: ask the endpoint for the probability of each class."""

import base64
import binascii

from lambda_src.shared import metrics, settings
from lambda_src.shared.endpoint import invoke_endpoint
from lambda_src.shared.errors import (
    InvalidInputError,
)
from lambda_src.shared.item import ImageRef, Item
from lambda_src.shared.predictions import best_class, parse_probabilities


@metrics.counting_errors
def handler(event: Item, _context: object) -> Item:
    """Takes an item with `image_data`; answers it with `inferences` (one probability for each class, in the classes'
    order), `label` and `confidence` in place of the image.

    Raises EndpointUnavailableError, EndpointMisconfiguredError, ImageRefusedError or InvalidPredictionError.
    """
    image = ImageRef.of(event)
    body = invoke_endpoint(decode(event), settings.endpoint_name(), image)
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
