"""The functions as Lambda runs them, with the AWS clients' HTTP layer stubbed against botocore's own models."""

import json
from collections.abc import Iterator

import pytest
from botocore.stub import Stubber

from lambda_src.shared import aws, settings
from tests.unit.lambda_src.retraining.data_set import SETTINGS
from tests.unit.stand_in import client_for


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ENDPOINT_NAME", "scones-dev")
    monkeypatch.setenv("ENDPOINT_KIND", "realtime")
    monkeypatch.setenv("CLASSES", '["bicycle", "motorcycle"]')
    monkeypatch.setenv("CONFIDENCE_THRESHOLD", "0.9")
    monkeypatch.setenv("BUCKET_NAME", "the-bucket")
    monkeypatch.setenv("METRIC_NAMESPACE", "SconesUnlimited/dev")
    monkeypatch.setenv("RECORD_LOCATION", "data-capture:data-capture/scones-dev/")
    monkeypatch.setenv("DRIFT_WINDOW_HOURS", "6")
    monkeypatch.setenv("DRIFT_BOUND", "0.25")
    monkeypatch.setenv("ACCURACY_WINDOW_HOURS", "6")
    monkeypatch.setenv("LABEL_DELAY_HOURS", "24")
    monkeypatch.setenv("BASELINE_PARAMETER", "/scones/dev/model/baseline-key")
    yield
    _forget_settings()


def _forget_settings() -> None:
    for setting in vars(settings).values():
        if hasattr(setting, "cache_clear"):
            setting.cache_clear()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    client = client_for("s3")
    monkeypatch.setattr(aws, "s3", lambda: client)
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    client = client_for("sagemaker-runtime")
    monkeypatch.setattr(aws, "sagemaker_runtime", lambda: client)
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def retraining_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name.upper(), value if isinstance(value, str) else json.dumps(value))
    _forget_settings()
    yield
    _forget_settings()
