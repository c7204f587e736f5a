"""Thresholds from predictions for validation images in an account in this process, and from captures in a folder."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto import mock_aws

from lambda_src.retraining.trained_model import Prediction, documents_of
from lambda_src.shared.model_documents import document_key
from ops import aws
from tests.unit.ops.conftest import Writer, capture_line, run
from tests.unit.stored import create_bucket, place

BUCKET = "scones"
Output = pytest.CaptureFixture[str]


def put_predictions(content: str) -> None:
    place(BUCKET, document_key("job-1", "predictions"), content)


@pytest.fixture
def validated(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An environment whose model predicted 200 validation images, as often correctly as it was confident."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        create_bucket(BUCKET)
        monkeypatch.setattr(aws, "bucket", lambda _: BUCKET)
        rng, predictions = random.Random(1), []
        for number in range(200):
            confidence = rng.uniform(0.5, 1)
            label = number % 2 if rng.random() < confidence else 1 - number % 2
            probabilities = [confidence, 1 - confidence] if number % 2 == 0 else [1 - confidence, confidence]
            predictions.append(Prediction(f"test/a/{number}.png", label, probabilities))
        documents = documents_of(predictions, classes=("bicycle", "motorcycle"), artifact_uri="s3://m")
        put_predictions(json.dumps(documents["predictions"]))
        aws.ssm().put_parameter(Name="/scones/dev/model/metadata", Value='{"job": "job-1"}', Type="String")
        yield


def test_the_threshold_for_an_accuracy_and_what_it_rejects(validated: None, capsys: Output) -> None:
    assert run("threshold", "--accuracy", 0.9, "--json") == 0
    judged = json.loads(capsys.readouterr().out)
    assert judged["predictions"] == 200
    found = judged["threshold"]
    assert found["accuracy"] >= 0.9
    assert found["accepted"] + found["rejected"] == 200
    assert 0.6 < found["threshold"] < 0.95
    assert judged["expected_calibration_error"] < 0.15  # of answers that are as right as they are sure
    assert [point["threshold"] for point in judged["points"]] == [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.99]


def test_the_table_is_followed_by_a_sentence_on_the_threshold(validated: None, capsys: Output) -> None:
    assert run("threshold", "--accuracy", 0.9) == 0
    shown = capsys.readouterr().out
    assert "The model's predictions for the validation images: 200 predictions" in shown
    assert "For an accuracy of 90.0%, the threshold is 0." in shown
    assert "of 200 images" in shown
    assert "ECE 0." in shown


def test_an_accuracy_out_of_reach_is_said(validated: None, capsys: Output) -> None:
    run("threshold", "--accuracy", 1)
    assert "too few predictions to be 95% sure" in capsys.readouterr().out


def test_the_page_has_both_plots(validated: None, tmp_path: Path) -> None:
    target = tmp_path / "threshold.html"
    assert run("threshold", "--html", target) == 0
    shown = target.read_text(encoding="utf-8")
    assert 'id="accuracy-coverage"' in shown
    assert 'id="reliability"' in shown


@pytest.mark.parametrize("content", ["{", "[]", '{"images": [{"key": "test/a.png"}]}'])
def test_invalid_predictions_are_reported_with_a_fix(validated: None, capsys: Output, content: str) -> None:
    put_predictions(content)
    assert run("threshold") == 1
    error = capsys.readouterr().err
    assert "s3://scones/models/job-1/predictions.json: no predictions" in error
    assert "`python -m data_prep baseline --env dev --force`" in error


def test_a_model_without_stored_predictions_names_the_command_to_run(validated: None, capsys: Output) -> None:
    aws.ssm().put_parameter(Name="/scones/dev/model/metadata", Value='{"job": "job-2"}', Type="String", Overwrite=True)
    assert run("threshold") == 1
    assert "`python -m data_prep baseline --env dev`" in capsys.readouterr().err
    aws.ssm().delete_parameter(Name="/scones/dev/model/metadata")
    assert run("threshold") == 1
    assert "has no model yet" in capsys.readouterr().err


def test_captures_with_ground_truth(write_captures: Writer, tmp_path: Path, capsys: Output) -> None:
    folder = write_captures(*[capture_line(number, 0.6 if number < 20 else 0.95) for number in range(60)])
    truth = tmp_path / "truth/2026/11/26/00"
    truth.mkdir(parents=True)
    lines = [
        {
            "groundTruthData": {"data": str(number % 2 if number >= 10 else 1 - number % 2), "encoding": "CSV"},
            "eventMetadata": {"eventId": f"inference-{number}"},
        }
        for number in range(50)
    ]
    (truth / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    common = ("threshold", "--source", "captures", "--folder", folder, "--since", "2026-11-25T08:00")
    window = ("--until", "2026-11-25T12:00", "--accuracy", 1, "--json")
    assert run(*common, *window, "--ground-truth", tmp_path / "truth") == 0
    judged = json.loads(capsys.readouterr().out)
    assert judged["predictions"] == 50
    assert judged["threshold"] == {
        "threshold": 0.6001,
        "coverage": 0.6,
        "accuracy": 1.0,
        "interval": judged["threshold"]["interval"],
        "accepted": 30,
        "rejected": 20,
    }
    (truth / "a.jsonl").unlink()
    assert run(*common, *window, "--ground-truth", tmp_path / "truth") == 1
    error = capsys.readouterr().err
    assert f"Captures with ground truth of {folder}, 2026-11-25 08:00 to 2026-11-25 12:00 UTC" in error
    assert "there are none; put labels below ground-truth/" in error
