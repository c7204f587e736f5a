"""ReadTransformOutput: what Batch Transform answered for one image, in the form in which Classifier hands it on."""

import json

from botocore.exceptions import BotoCoreError, ClientError

from lambda_src import aws, metrics, settings
from lambda_src.errors import (
    ImageNotFoundError,
    InvalidInputError,
    InvalidPredictionError,
    NotTransformedError,
    StorageUnavailableError,
)
from lambda_src.find_predictions import current_version
from lambda_src.item import ImageRef, Item
from lambda_src.probabilities import parse_probabilities


@metrics.counting_errors
def handler(event: Item, _context: object) -> Item:
    """Takes an item with `transform_output`, a key; answers it with `inferences`, `label` and `confidence`."""
    image = ImageRef.of(event)
    key = event.get("transform_output")
    if not isinstance(key, str) or not key:
        raise InvalidInputError(f"transform_output must be a key, not {key!r}: {image.uri}")
    version_id = image.version_id or version_of(image)
    probabilities = parse_output(read_output(key, image, job_failure=event.get("job_failure")), settings.classes())
    confidence = max(probabilities)
    return {
        **event,
        "s3_version_id": version_id,
        "inferences": probabilities,
        "label": settings.classes()[probabilities.index(confidence)],
        "confidence": confidence,
    }


def version_of(image: ImageRef) -> str:
    try:
        return current_version(image)
    except ClientError as error:
        if aws.is_transient(error):
            raise StorageUnavailableError(f"could not be read ({error}): {image.uri}") from error
        raise ImageNotFoundError(f"does not exist any more ({error}): {image.uri}") from error
    except BotoCoreError as error:
        raise StorageUnavailableError(f"could not be read ({error}): {image.uri}") from error


def read_output(key: str, image: ImageRef, *, job_failure: object) -> bytes:
    """The job's output for the image; a job leaves none for an image that the model refuses."""
    bucket = settings.predictions().bucket_name
    try:
        return aws.s3().get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        if aws.is_transient(error):
            raise StorageUnavailableError(f"could not be read ({error}): s3://{bucket}/{key}") from error
        reason = f"the job failed: {job_failure}" if job_failure else error.response["Error"]["Code"]
        raise NotTransformedError(f"no answer of Batch Transform ({reason}): {image.uri}") from error
    except BotoCoreError as error:
        raise StorageUnavailableError(f"could not be read ({error}): s3://{bucket}/{key}") from error


def parse_output(body: bytes, classes: tuple[str, ...]) -> list[float]:
    """The probabilities of `{"prediction": [...]}`; raises InvalidPredictionError."""
    try:
        prediction = json.loads(body)["prediction"]
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidPredictionError(
            f'Batch Transform must answer {{"prediction": [...]}}, not {body[:60]!r}'
        ) from error
    return parse_probabilities(json.dumps(prediction).encode(), classes)
