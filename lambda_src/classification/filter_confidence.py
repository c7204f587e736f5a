"""FilterConfidence: store a confident prediction; raise an error for one below the threshold."""

import json
import math

from botocore.exceptions import BotoCoreError, ClientError

from lambda_src.shared import aws, metrics, settings
from lambda_src.shared.errors import (
    ImageError,
    InvalidInputError,
    LowConfidenceError,
    PredictionDiffersError,
    PredictionNotStoredError,
    StorageUnavailableError,
)
from lambda_src.shared.item import ImageRef, Item
from lambda_src.shared.json_reader import DocumentError, read_json
from lambda_src.shared.prediction_record import record_of
from lambda_src.shared.predictions import is_accepted


@metrics.counting_errors
def handler(event: Item, _context: object) -> Item:
    """Takes Classifier's output; returns it with `prediction_key`, the key under which the prediction is stored.

    Raises LowConfidenceError below the threshold, InvalidInputError, PredictionNotStoredError, PredictionDiffersError
    or StorageUnavailableError.
    """
    image = ImageRef.of(event)
    confidence = confidence_of(event)
    threshold = settings.confidence_threshold()
    if not is_accepted(confidence, threshold):
        count_outcome(event, image, accepted=False)
        raise LowConfidenceError(
            f"{event.get('label')} with confidence {confidence:.4f}, under {threshold}: {image.uri}"
        )
    store_prediction(event, image, settings.bucket_name())
    count_outcome(event, image, accepted=True)
    return {**event, "prediction_key": image.prediction_key}


def count_outcome(item: Item, image: ImageRef, *, accepted: bool) -> None:
    """Publish the outcome as metrics, together with the prediction itself if the endpoint captures nothing."""
    metrics.publish(
        {
            metrics.IMAGES_ACCEPTED: int(accepted),
            metrics.IMAGES_REJECTED: int(not accepted),
            metrics.CONFIDENCE: item["confidence"],
        },
        record=record_of(image, item["inferences"]) if settings.endpoint_kind() == "serverless" else None,
    )


def confidence_of(item: Item) -> float:
    """The confidence that Classifier put into the item; raises InvalidInputError."""
    confidence = item.get("confidence")
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not math.isfinite(confidence):
        raise InvalidInputError(f"confidence must be a number, not {confidence!r}: Classifier has not run on this item")
    if not item.get("s3_version_id"):
        raise InvalidInputError("s3_version_id is missing: SerializeImageData has not run on this item")
    return float(confidence)


def store_prediction(item: Item, image: ImageRef, bucket_name: str) -> None:
    """Write the prediction under a key that depends only on the image and its version.

    The write succeeds only if the key is new, so a second delivery of the same image changes nothing. Raises
    PredictionDiffersError if the stored prediction has another label.
    """
    prediction = {
        "s3_bucket": image.bucket,
        "s3_key": image.key,
        "s3_version_id": image.version_id,
        "inference_id": image.inference_id,
        "label": item["label"],
        "confidence": item["confidence"],
        "inferences": item["inferences"],
    }
    try:
        aws.s3().put_object(
            Bucket=bucket_name,
            Key=image.prediction_key,
            Body=json.dumps(prediction, ensure_ascii=False, indent=2).encode(),
            ContentType="application/json",
            IfNoneMatch="*",
        )
    except (BotoCoreError, ClientError) as error:
        if not isinstance(error, ClientError) or error.response["Error"]["Code"] != "PreconditionFailed":
            raise not_stored(error, image) from error
        check_stored_label(item["label"], image, bucket_name)


def check_stored_label(label: str, image: ImageRef, bucket_name: str) -> None:
    """Raise PredictionDiffersError unless the stored prediction has this label.

    The outcome and the stored prediction must agree on the label. The confidence may differ: hardware rounds
    differently.
    """
    try:
        body = aws.s3().get_object(Bucket=bucket_name, Key=image.prediction_key)["Body"]
        stored = read_json(body, name=image.prediction_key).get("label")
    except (BotoCoreError, ClientError) as error:
        raise not_stored(error, image) from error
    except DocumentError as error:
        raise PredictionDiffersError(f"{error}, and is not overwritten: {image.uri}") from error
    if stored != label:
        raise PredictionDiffersError(
            f"{label}, but the stored prediction, perhaps of another model, is {stored} and is not overwritten: "
            f"{image.uri}"
        )


def not_stored(error: BotoCoreError | ClientError, image: ImageRef) -> ImageError:
    """The error to raise for an error of S3."""
    if isinstance(error, ClientError):
        code = error.response["Error"]["Code"]
        # ConditionalRequestConflict: another delivery of the image is being written at the same time
        if code != "ConditionalRequestConflict" and not aws.is_transient(error):
            return PredictionNotStoredError(f"may not be stored ({code}): {image.prediction_key}")
    return StorageUnavailableError(f"could not be stored ({error}): {image.prediction_key}")
