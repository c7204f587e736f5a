"""RecordRelease: the parameters name what is served, so that the next deployment serves it too."""

import json
from collections.abc import Mapping
from typing import Any

from lambda_src import aws, release, settings


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Takes `{"job"}`; answers the metadata. Either all parameters name the model afterwards, or none does."""
    shared = settings.retraining()
    metadata = release.model_metadata(release.training_job(event["job"]))
    values = {shared.metadata_parameter: json.dumps(metadata)}
    baseline_key = f"models/{event['job']}/baseline.json"
    if release.stored_json(baseline_key):
        values[shared.baseline_parameter] = baseline_key
    # The artifact last: it is what a deployment reads
    values[shared.artifact_parameter] = metadata["artifact_uri"]
    before = {name: release.parameter(name) for name in values}
    changed: list[str] = []
    try:
        for name, value in values.items():
            if before[name] != value:
                _put(name, value)
                changed.append(name)
    except Exception:
        for name in changed:
            if (old := before[name]) is not None:
                _put(name, old)
        raise
    return metadata


def _put(name: str, value: str) -> None:
    aws.ssm().put_parameter(Name=name, Value=value, Type="String", Overwrite=True)
