"""What must hold after an execution, whatever was in its list."""

import json
from collections import Counter
from collections.abc import Collection, Sequence

import boto3

from local.cloud import LocalCloud
from local.demonstration import Environment, Execution
from stacks.shared import prefixes
from tests.local.classification.image_cases import PlacedImage

# What a state of Step Functions holds, in bytes of UTF-8
MAX_STATE_BYTES = 262_144


def contents(environment: Environment) -> dict[tuple[str, str], str]:
    """ETag of every version of every object, but for captures, which the endpoint writes when it likes."""
    pages = boto3.client("s3").get_paginator("list_object_versions").paginate(Bucket=environment.bucket)
    return {
        (version["Key"], version["VersionId"]): version["ETag"]
        for page in pages
        for version in page.get("Versions", [])
        if not version["Key"].startswith((prefixes.DATA_CAPTURE, prefixes.MONITORING))
    }


def expected_keys(execution_arn: str, images: Sequence[PlacedImage]) -> list[str]:
    """What an execution must write: its manifest, and a prediction for each accepted image."""
    return [
        f"{prefixes.MANIFESTS}{execution_arn.rpartition(':')[2]}.json",
        *(f"{prefixes.PREDICTIONS}{i.key}/{i.version_id}.json" for i in images if i.case.outcome == "ACCEPTED"),
    ]


def check_outcomes(
    environment: Environment,
    cloud: LocalCloud,
    execution: Execution,
    images: Sequence[PlacedImage],
    *,
    before: dict[tuple[str, str], str],
    digests: Sequence[dict[str, str]],
    beside: Collection[str] = (),
) -> None:
    """Every image exactly once with its outcome and error; predictions for the accepted only; one digest; no more.

    `before` are the contents of the bucket before the execution, `digests` what the topic said of this one,
    `beside` what another execution may write meanwhile.
    """
    outcomes = execution.manifest["outcomes"]
    assert len(outcomes) == len(images)
    for outcome, image in zip(outcomes, images, strict=True):
        case = image.case
        assert (outcome["outcome"], outcome.get("error")) == (case.outcome, case.error), (case.name, outcome)
        if isinstance(image.item, dict):
            assert outcome.get("s3_key") == image.item.get("s3_key"), case.name
        assert bool(outcome.get("cause")) == (case.outcome != "ACCEPTED"), (case.name, outcome)
    assert len(json.dumps(execution.manifest, ensure_ascii=False).encode()) < MAX_STATE_BYTES

    counts = {
        name: sum(image.case.outcome == name for image in images)
        for name in ("ACCEPTED", "REJECTED", "WAITING", "FAILED")
    }
    assert execution.counts == counts
    verdict: tuple[str, str | None] = ("SUCCEEDED", None)
    if counts["REJECTED"]:
        verdict = ("FAILED", "InferencesRejected")
    if counts["FAILED"]:
        verdict = ("FAILED", "InferencesFailed")
    assert (execution.status, execution.error) == verdict

    manifest_key, *accepted = expected_keys(execution.arn, images)
    after = contents(environment)
    assert before.items() <= after.items(), "an object that was there has changed"
    written = Counter(key for key, _ in after.keys() - before.keys())
    for key in beside:
        del written[key]
    assert written == Counter([*accepted, manifest_key])

    assert len(digests) == (execution.status == "FAILED")
    for digest in digests:
        not_accepted = counts["REJECTED"] + counts["FAILED"]
        assert digest["Subject"] == f"Scones Unlimited dev: {not_accepted} of {len(images)} images not accepted"

    seen = cloud.endpoint_requests(environment.config.endpoint_name)
    for image in images:
        assert seen[image.inference_id] == image.case.requests, image.case.name
