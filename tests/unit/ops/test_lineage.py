from datetime import datetime

import pytest

from lambda_src.shared.release_history import Record
from ops import lineage
from ops.lineage import Lineage, Model, rows, serving_at


def record(minute: int, artifact: str, status: str = "IN_SERVICE") -> Record:
    return Record(
        f"2030-01-01T00:{minute:02}:00.000+00:00", status, f"config-{artifact}", "model", f"s3://b/{artifact}"
    )


HISTORY = [
    record(0, "a", "CREATING"),
    record(5, "a"),
    record(20, "a", "UPDATING"),
    record(30, "b"),
    record(40, "b", "UPDATING"),  # goes back
    record(50, "b"),
]


@pytest.mark.parametrize(
    ("minute", "artifacts"),
    [(2, []), (5, ["a"]), (19, ["a"]), (25, ["a", "b"]), (30, ["b"]), (45, ["b"]), (59, ["b"])],
)
def test_the_models_that_may_have_made_a_prediction(minute: int, artifacts: list[str]) -> None:
    when = datetime.fromisoformat(f"2030-01-01T00:{minute:02}:00+00:00")
    assert [found.artifact_uri for found in serving_at(HISTORY, when)] == [f"s3://b/{name}" for name in artifacts]


def test_an_update_that_is_still_under_way_has_no_other_model_yet() -> None:
    when = datetime.fromisoformat("2030-01-01T00:25:00+00:00")
    assert [found.artifact_uri for found in serving_at(HISTORY[:3], when)] == ["s3://b/a"]


def test_an_adopted_model_has_its_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = {
        "models/scones-dev-adopted-1/manifest.json": {"adopted_from": "s3://theirs/model.tar.gz"},
        "models/scones-dev-adopted-1/evaluation.json": {"accuracy": 0.9, "calibration_error": 0.05},
    }
    monkeypatch.setattr(lineage, "read_document", lambda _bucket, key: documents.get(key, {}))
    served = record(5, "models/scones-dev-adopted-1/output/model.tar.gz")
    model = lineage._of_no_job("b", served, "scones-dev-adopted-1")
    assert (model.training_job, model.accuracy) == ("none here: adopted from s3://theirs/model.tar.gz", 0.9)
    assert lineage._of_no_job("b", served, "another").training_job == ""


def test_unknown_details_are_reported_as_unknown() -> None:
    model = Model(artifact_uri="s3://b/a", served_since="2030")
    shown = dict(rows(Lineage("predictions/x.json", "s3://b/x", "bicycle", 0.95, "2031", (model,))))
    assert shown["training job"] == shown["data digest"] == shown["accuracy"] == "unknown"
    assert shown["label"] == "bicycle, confidence 0.9500"
