"""SmokeTest: does the endpoint answer known images as the released model answered them in Batch Transform?"""

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

# The same weights on another instance type round differently
TOLERANCE = 0.01
_UNKNOWN_IMAGES = 20


def handler(event: Mapping[str, Any], _context: object) -> dict[str, int]:
    """Takes `{"job"}`; answers how many images were asked for. Raises SmokeTestFailedError."""
    known = (release.stored_json(document_key(event["job"], "smoke_test")) or {}).get("images") or []
    if known:
        for image in known:
            difference = max(
                abs(a - b) for a, b in zip(ask(image["key"]), image["probabilities"], strict=True)
            )  # fmt: skip
            if difference > TOLERANCE:
                raise SmokeTestFailedError(
                    f"{image['key']}: the endpoint's probabilities are {difference:.4f} off those of {event['job']}"
                )
        return {"images": len(known)}
    return {"images": _mostly_right()}


def _mostly_right() -> int:
    """A model that no retraining has evaluated has no known answers: it must at least be better than chance."""
    lines = list(islice(validation_lines(settings.bucket_name()), _UNKNOWN_IMAGES))
    answers = [ask(f"{VALIDATION_IMAGES}{line.path}") for line in lines]
    right = sum(best_class(answer)[0] == line.label for answer, line in zip(answers, lines, strict=True))
    if right * len(settings.classes()) <= len(lines):
        raise SmokeTestFailedError(f"the endpoint is right for {right} of {len(lines)} validation images")
    return len(lines)


def ask(key: str) -> list[float]:
    """The endpoint's probabilities for an image of the bucket."""
    bucket = settings.bucket_name()
    body = aws.s3().get_object(Bucket=bucket, Key=key)["Body"].read()
    answer = invoke_endpoint(body, settings.endpoint_name(), ImageRef(bucket, key, "smoke-test"))
    return parse_probabilities(answer, settings.classes())
