"""ReadTransformOutput: what Batch Transform answered for one image, in the form in which Classifier hands it on."""

from botocore.exceptions import BotoCoreError, ClientError

from lambda_src import aws, metrics, settings
from lambda_src.errors import (
    ImageNotFoundError,
    InvalidInputError,
    NotTransformedError,
    StorageUnavailableError,
)
from lambda_src.find_predictions import current_version
from lambda_src.item import ImageRef, Item
from lambda_src.transform_output import output_keys, parse_output, read_output


@metrics.counting_errors
def handler(event: Item, _context: object) -> Item:
    """Takes an item with `transform_output` and `input_prefix`, which its image's key begins with, both of the job.

    Answers it with `inferences`, `label` and `confidence`.
    """
    image = ImageRef.of(event)
    output, input_prefix = (text_of(event, name, image) for name in ("transform_output", "input_prefix"))
    version_id = image.version_id or version_of(image)
    keys = output_keys(output, image_key=image.key, input_prefix=input_prefix)
    body = stored_output(keys, image, job_failure=event.get("job_failure"))
    probabilities = parse_output(body, settings.classes())
    confidence = max(probabilities)
    return {
        **event,
        "s3_version_id": version_id,
        "inferences": probabilities,
        "label": settings.classes()[probabilities.index(confidence)],
        "confidence": confidence,
    }


def text_of(event: Item, name: str, image: ImageRef) -> str:
    value = event.get(name)
    if not isinstance(value, str):
        raise InvalidInputError(f"{name} must be a prefix, not {value!r}: {image.uri}")
    return value


def version_of(image: ImageRef) -> str:
    try:
        return current_version(image)
    except ClientError as error:
        if aws.is_transient(error):
            raise StorageUnavailableError(f"could not be read ({error}): {image.uri}") from error
        raise ImageNotFoundError(f"does not exist any more ({error}): {image.uri}") from error
    except BotoCoreError as error:
        raise StorageUnavailableError(f"could not be read ({error}): {image.uri}") from error


def stored_output(keys: list[str], image: ImageRef, *, job_failure: object) -> bytes:
    """The job's output for the image; a job leaves none for an image that the model refuses."""
    bucket = settings.predictions().bucket_name
    try:
        body = read_output(aws.s3(), bucket, keys)
    except ClientError as error:
        if aws.is_transient(error):
            raise StorageUnavailableError(f"could not be read ({error}): {keys}") from error
        raise NotTransformedError(f"no answer of Batch Transform ({error}): {image.uri}") from error
    except BotoCoreError as error:
        raise StorageUnavailableError(f"could not be read ({error}): {keys}") from error
    if body is None:
        reason = f"the job failed: {job_failure}" if job_failure else f"no {' or '.join(keys)}"
        raise NotTransformedError(f"no answer of Batch Transform ({reason}): {image.uri}")
    return body
