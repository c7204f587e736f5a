"""RecordRelease: the parameters name what is served, so that the next deployment serves it too."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lambda_src.retraining import release
from lambda_src.shared import aws, settings
from lambda_src.shared.model_documents import document_key


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Takes `{"job"}`; returns the metadata. Either all parameters name the model afterwards, or none does."""
    trained = release.trained_model(release.training_job(event["job"]))
    model = asdict(trained)
    values = {
        settings.metadata_parameter(): json.dumps(model),
        settings.algorithm_parameter(): trained.algorithm,
        # Also where it has none yet: drift from another model's baseline would mean nothing
        settings.baseline_parameter(): document_key(event["job"], "baseline"),
        # The artifact last: it is what a deployment reads
        settings.artifact_parameter(): model["artifact_uri"],
    }
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
    return model


def _put(name: str, value: str) -> None:
    aws.ssm().put_parameter(Name=name, Value=value, Type="String", Overwrite=True)
