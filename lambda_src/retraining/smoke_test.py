"""SmokeTest: compares the endpoint's predictions for known images with the released model's in Batch Transform."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

from lambda_src.retraining import release
from lambda_src.retraining.data_set import validation_lines
from lambda_src.retraining.errors import SmokeTestFailedError
from lambda_src.retraining.trained_model import VALIDATION_IMAGES
from lambda_src.shared import aws, settings
from lambda_src.shared.endpoint import invoke_endpoint
from lambda_src.shared.item import ImageRef
from lambda_src.shared.model_documents import document_key
from lambda_src.shared.predictions import best_class, parse_probabilities

# Another instance type rounds differently
TOLERANCE = 0.01
_UNKNOWN_IMAGES = 20


def handler(event: Mapping[str, Any], _context: object) -> dict[str, int]:
    """Takes `{"job"}`; returns the number of images that were compared. Raises SmokeTestFailedError."""
    known = (release.stored_json(document_key(event["job"], "smoke_test")) or {}).get("images") or []
    if known:
        for image in known:
            difference = max(
                abs(a - b) for a, b in zip(predict(image["key"]), image["probabilities"], strict=True)
            )  # fmt: skip
            if difference > TOLERANCE:
                raise SmokeTestFailedError(
                    f"{image['key']}: the endpoint's probabilities differ from those of {event['job']} by "
                    f"{difference:.4f}"
                )
        return {"images": len(known)}
    return {"images": _mostly_correct()}


def _mostly_correct() -> int:
    """For a model without known predictions, which no run has evaluated: raises unless it is better than chance."""
    lines = list(islice(validation_lines(settings.bucket_name()), _UNKNOWN_IMAGES))
    responses = [predict(f"{VALIDATION_IMAGES}{line.path}") for line in lines]
    correct = sum(best_class(response)[0] == line.label for response, line in zip(responses, lines, strict=True))
    if correct * len(settings.classes()) <= len(lines):
        raise SmokeTestFailedError(f"the endpoint predicts only {correct} of {len(lines)} validation images correctly")
    return len(lines)


def predict(key: str) -> list[float]:
    """The endpoint's probabilities, in label order, for an image in the bucket."""
    bucket = settings.bucket_name()
    body = aws.s3().get_object(Bucket=bucket, Key=key)["Body"].read()
    response = invoke_endpoint(body, settings.endpoint_name(), ImageRef(bucket, key, "smoke-test"))
    return parse_probabilities(response, settings.classes())
