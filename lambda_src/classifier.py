"""Classifier: ask the endpoint for the probability of each class."""

import base64
import binascii
import json
import math

from botocore.exceptions import BotoCoreError, ClientError

from lambda_src import aws, metrics, settings
from lambda_src.errors import (
    EndpointMisconfiguredError,
    EndpointUnavailableError,
    ImageRefusedError,
    InvalidInputError,
    InvalidPredictionError,
)
from lambda_src.item import ImageRef, Item

# float32 rounding of a softmax over 100 classes stays far below this
SUM_TOLERANCE = 1e-3


@metrics.counting_errors
def handler(event: Item, _context: object) -> Item:
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


def parse_probabilities(body: bytes, classes: tuple[str, ...]) -> list[float]:
    """One finite probability per class, in label order, that sum to 1; raises InvalidPredictionError."""
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise InvalidPredictionError(f"the model's answer is not JSON: {body[:60]!r}") from error
    if not isinstance(answer, list) or len(answer) != len(classes):
        raise InvalidPredictionError(
            f"the model must answer {len(classes)} probabilities ({', '.join(classes)}), not {body[:60]!r}"
        )
    if not all(type(p) in {int, float} and math.isfinite(p) and 0 <= p <= 1 + SUM_TOLERANCE for p in answer):
        raise InvalidPredictionError(f"the model's answer holds something else than probabilities: {body[:60]!r}")
    probabilities = [float(p) for p in answer]
    if abs(math.fsum(probabilities) - 1) > SUM_TOLERANCE:
        raise InvalidPredictionError(f"the model's probabilities sum to {math.fsum(probabilities):.4f}, not to 1")
    return probabilities
