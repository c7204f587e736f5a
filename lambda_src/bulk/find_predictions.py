"""FindPredictions: finds the images of a batch that already have a prediction, so that a second run skips them."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lambda_src.shared import aws, settings
from lambda_src.shared.errors import InvalidInputError
from lambda_src.shared.item import ImageRef, Item
from lambda_src.shared.json_reader import read_json
from lambda_src.shared.stored_image import version_of

_LOOK_UPS = 8


def handler(event: dict[str, list[Item]], _context: object) -> dict[str, list[Item]]:
    """Takes `{"items": [...]}`; returns `{"done": [outcomes], "pending": [items]}`, both in the order of the items."""
    items = event["items"]
    with ThreadPoolExecutor(_LOOK_UPS) as pool:
        outcomes = list(pool.map(stored_outcome, items))
    return {
        "done": [outcome for outcome in outcomes if outcome],
        "pending": [item for item, outcome in zip(items, outcomes, strict=True) if not outcome],
    }


def stored_outcome(item: object) -> dict[str, Any] | None:
    """The outcome that an earlier run stored for the version that the item names, or else for the current one.

    None if there is none, or if it cannot be determined: the next steps report what is wrong with the image.
    """
    try:
        image = ImageRef.of(item)
        if image.bucket != settings.bucket_name():
            return None  # a prediction's key names no bucket: it is the prediction for an image in this bucket
        version_id = image.version_id or current_version(image)
        image = ImageRef(image.bucket, image.key, version_id)
        stored = aws.s3().get_object(Bucket=settings.bucket_name(), Key=image.prediction_key)
        prediction = read_json(stored["Body"], name=image.prediction_key)
        return {
            "outcome": "ACCEPTED",
            "s3_bucket": image.bucket,
            "s3_key": image.key,
            "s3_version_id": image.version_id,
            "label": prediction["label"],
            "confidence": prediction["confidence"],
            "prediction_key": image.prediction_key,
        }
    except (InvalidInputError, BotoCoreError, ClientError, ValueError, KeyError):
        return None


def current_version(image: ImageRef) -> str:
    """The version of the object, or its ETag, as SerializeImageData determines it."""
    return version_of(aws.s3().head_object(Bucket=image.bucket, Key=image.key))
