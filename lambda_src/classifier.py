"""Classifier: ask the endpoint for the probability of each class."""

import base64
import binascii

from botocore.exceptions import BotoCoreError, ClientError

from lambda_src import aws, metrics, settings
from lambda_src.errors import (
    EndpointMisconfiguredError,
    EndpointUnavailableError,
    ImageRefusedError,
    InvalidInputError,
)
from lambda_src.item import ImageRef, Item
from lambda_src.probabilities import parse_probabilities


@metrics.counting_errors
def handler(event: Item, _context: object) -> Item:
    """Takes an item with `image_data`; answers it with `inferences` (one probability for each class, in the classes'
    order), `label` and `confidence` in place of the image.

    Raises EndpointUnavailableError, EndpointMisconfiguredError, ImageRefusedError or InvalidPredictionError.
    """
    image = ImageRef.of(event)
    body = invoke_endpoint(decode(event), settings.classifier().endpoint_name, image)
    probabilities = parse_probabilities(body, settings.classifier().classes)
    confidence = max(probabilities)
    return {
        **event,
        "image_data": "",  # it has served; results stay small
        "inferences": probabilities,
        "label": settings.classifier().classes[probabilities.index(confidence)],
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


def invoke_endpoint(data: bytes, endpoint_name: str, image: ImageRef) -> bytes:
    """The endpoint's answer to one image."""
    try:
        response = aws.sagemaker_runtime().invoke_endpoint(
            EndpointName=endpoint_name,
            ContentType="application/x-image",
            Accept="application/json",
            Body=data,
            InferenceId=image.inference_id,
        )
        return response["Body"].read()
    except ClientError as error:
        raise _explained(error, endpoint_name, image) from error
    except BotoCoreError as error:
        raise EndpointUnavailableError(f"endpoint {endpoint_name} cannot be reached: {error}") from error


def _explained(error: ClientError, endpoint_name: str, image: ImageRef) -> Exception:
    if error.response["Error"]["Code"] == "ModelError":  # the container's own answer, handed on by SageMaker
        status = int(str(error.response.get("OriginalStatusCode", 500)))
        if 400 <= status < 500 and status != 429:
            return ImageRefusedError(f"the model answered {status} to {image.uri}: {error}")
        return EndpointUnavailableError(f"the model behind {endpoint_name} answered {status}: {error}")
    if aws.is_transient(error):
        return EndpointUnavailableError(f"endpoint {endpoint_name} did not answer: {error}")
    return EndpointMisconfiguredError(f"endpoint {endpoint_name} refused the request: {error}")
