"""RecordRelease: writes the model in service to the SSM parameters, so that the next deployment serves it too."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lambda_src.retraining import release
from lambda_src.shared import aws, settings
from lambda_src.shared.model_documents import document_key


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Takes `{"job"}`; returns the model's metadata. If writing one parameter fails, restores those before it."""
    trained = release.trained_model(release.training_job(event["job"]))
    model = asdict(trained)
    values = {
        settings.metadata_parameter(): json.dumps(model),
        settings.algorithm_parameter(): trained.algorithm,
        # Even if this model has no baseline yet: the drift from another model's baseline would be meaningless
        settings.baseline_parameter(): document_key(event["job"], "baseline"),
        # The artifact last, because deployments read it
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
