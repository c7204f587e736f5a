"""Classifier: ask the endpoint for the probability of each class."""

import base64
import binascii
import time

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

# Under the function's time-out; a later attempt asks again
ANSWER_SECONDS = 10
POLL_SECONDS = 0.25


@metrics.counting_errors
def handler(event: Item, _context: object) -> Item:
    """Takes an item with `image_data`; answers it with `inferences` (one probability for each class, in the classes'
    order), `label` and `confidence` in place of the image.

    Raises EndpointUnavailableError, EndpointMisconfiguredError, ImageRefusedError or InvalidPredictionError.
    """
    image = ImageRef.of(event)
    data, endpoint_name = decode(event), settings.classifier().endpoint_name
    if settings.classifier().is_asynchronous:
        body = invoke_asynchronously(endpoint_name, image)
    else:
        body = invoke_endpoint(data, endpoint_name, image)
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


def invoke_asynchronously(endpoint_name: str, image: ImageRef) -> bytes:
    """An asynchronous endpoint's answer: it reads the image from S3 itself, and writes what it thinks there."""
    try:
        ticket = aws.sagemaker_runtime().invoke_endpoint_async(
            EndpointName=endpoint_name,
            ContentType="application/x-image",
            Accept="application/json",
            InputLocation=image.uri,
            InferenceId=image.inference_id,
        )
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline:
            answer = _object(ticket["OutputLocation"])
            if answer is not None:
                return answer
            failure = _object(ticket["FailureLocation"]) if ticket.get("FailureLocation") else None
            if failure is not None:
                raise ImageRefusedError(f"the model refused {image.uri}: {failure[:200]!r}")
            time.sleep(POLL_SECONDS)
    except ClientError as error:
        raise _explained(error, endpoint_name, image) from error
    except BotoCoreError as error:
        raise EndpointUnavailableError(f"endpoint {endpoint_name} cannot be reached: {error}") from error
    raise EndpointUnavailableError(f"endpoint {endpoint_name} has not answered within {ANSWER_SECONDS} s: {image.uri}")


def _object(uri: str) -> bytes | None:
    """What lies at an `s3://` address; None if nothing does, yet."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        return aws.s3().get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
            return None
        raise


def _explained(error: ClientError, endpoint_name: str, image: ImageRef) -> Exception:
    if error.response["Error"]["Code"] == "ModelError":  # the container's own answer, handed on by SageMaker
        status = int(str(error.response.get("OriginalStatusCode", 500)))
        if 400 <= status < 500 and status != 429:
            return ImageRefusedError(f"the model answered {status} to {image.uri}: {error}")
        return EndpointUnavailableError(f"the model behind {endpoint_name} answered {status}: {error}")
    if aws.is_transient(error):
        return EndpointUnavailableError(f"endpoint {endpoint_name} did not answer: {error}")
    return EndpointMisconfiguredError(f"endpoint {endpoint_name} refused the request: {error}")
