"""The page Models: releases, the candidate, and the buttons."""

import json
from datetime import timedelta
from html import unescape
from typing import Any

import pytest

from tests.unit.ops.console.cloud import ARTIFACT, BUCKET, NOW, RETRAINING, Cloud
from tests.unit.ops.console.conftest import Browser
from tests.unit.ops.console.test_now import words

SECOND = ARTIFACT.replace("scones-dev-1", "scones-dev-2")


def section(html: str, name: str) -> str:
    """The text of one section of the page."""
    (found,) = [part for part in html.split("<section")[1:] if f'id="{name}"' in part]
    return words("<" + found)


def started(cloud: Cloud) -> list[dict[str, Any]]:
    """The inputs of the runs that were started."""
    return [
        json.loads(request["input"])
        for operation, request in cloud.requests
        if operation == "stepfunctions:StartExecution"
    ]


def compared(cloud: Cloud) -> str:
    """A candidate beside what is served: right where that is wrong, and the other way round. Returns its package."""
    cloud.evaluate(
        "scones-dev-1", {"test/a.png": (0, 0.9), "test/b.png": (1, 0.8), "test/c.png": (0, 0.6)}, calibration_error=0.05
    )
    cloud.evaluate(
        "scones-dev-2", {"test/a.png": (0, 0.9), "test/b.png": (1, 0.3), "test/c.png": (0, 0.1)}, calibration_error=0.07
    )
    return cloud.register("scones-dev-2")


def test_releases_are_the_models_that_were_in_service_newest_first(browser: Browser, cloud: Cloud) -> None:
    cloud.release(NOW - timedelta(days=2), ARTIFACT)  # the endpoint scaled
    cloud.release(NOW - timedelta(days=1), SECOND, "UPDATING")
    cloud.release(NOW - timedelta(hours=23), SECOND)
    cloud.register("scones-dev-2", "Approved", ApprovalDescription="by ada", LastModifiedTime=NOW)
    text = section(browser.get("/models").text, "releases")
    assert text.index("scones-dev-2") < text.index("scones-dev-1")
    assert text.count("now") == 1
    assert "87.5% 01234567 image-classification:1 by ada" in text, "accuracy, data, code and who approved"
    assert "nobody was asked" in text, "of the first"
    assert "Roll back to it immediately : scones-dev-1" in text
    assert "immediately : scones-dev-2" not in text, "it is served"


def test_the_approver_is_the_registrys_identity_if_none_was_recorded(browser: Browser, cloud: Cloud) -> None:
    by = {"IamIdentity": {"Arn": "arn:aws:iam::123456789012:user/grace"}}
    cloud.register("scones-dev-1", "Approved", LastModifiedBy=by)
    assert "user/grace" in section(browser.get("/models").text, "releases")


def test_the_candidate_is_compared_with_the_model_in_service_picture_by_picture(browser: Browser, cloud: Cloud) -> None:
    compared(cloud)
    text = section(browser.get("/models").text, "candidate")
    assert "all images 3 66.7% 66.7%" in text
    assert "class bicycle 2 50.0% 100.0%" in text
    assert "class motorcycle 1 100.0% 0.0%" in text
    assert "calibration error 0.070 0.050" in text
    assert "2 images on which they differ" in text
    assert "motorcycle candidate: motorcycle 0.700 in service: bicycle 0.800 (wrong) test/b.png" in text
    assert "bicycle candidate: motorcycle 0.900 (wrong) in service: bicycle 0.600 test/c.png" in text


def test_a_candidate_without_predictions_is_not_compared(browser: Browser, cloud: Cloud) -> None:
    cloud.register("scones-dev-2")
    assert "there is nothing to compare" in section(browser.get("/models").text, "candidate")


def test_a_candidate_that_no_run_waits_for_is_marked(browser: Browser, cloud: Cloud) -> None:
    compared(cloud)
    late = "No run waits for a decision any more"
    assert late in section(browser.get("/models").text, "candidate")
    cloud.runs = [{"executionArn": f"{RETRAINING}:r", "name": "r", "startDate": NOW}]
    cloud.events = [{"stateEnteredEventDetails": {"name": "WaitForApproval"}}]
    html = browser.get("/models").text
    assert late not in section(html, "candidate")
    assert "in the state WaitForApproval" in section(html, "retraining")


def test_without_a_waiting_run_the_button_says_that_nothing_is_released(browser: Browser, cloud: Cloud) -> None:
    compared(cloud)
    text = section(browser.get("/models").text, "candidate")
    assert "No run waits for a decision any more" in text
    assert "Approve scones-dev-2 in the registry only" in text
    cloud.runs = [{"executionArn": f"{RETRAINING}:r", "name": "r", "startDate": NOW}]
    text = section(browser.get("/models").text, "candidate")
    assert "No run waits" not in text
    assert "Approve: release scones-dev-2" in text


@pytest.mark.parametrize("status", ["Approved", "Rejected"])
def test_a_decision_is_written_down_with_who_made_it(browser: Browser, cloud: Cloud, status: str) -> None:
    package = compared(cloud)
    assert browser.post("/models/decide", {"package": package, "status": status}).status_code == 303
    (found,) = cloud.packages
    assert found["ModelApprovalStatus"] == status
    assert found["ApprovalDescription"].endswith("by arn:aws:sts::123456789012:assumed-role/Reviewer/ada")


def test_the_second_of_two_decisions_is_refused(browser: Browser, cloud: Cloud) -> None:
    package = compared(cloud)
    browser.post("/models/decide", {"package": package, "status": "Rejected"})
    response = browser.post("/models/decide", {"package": package, "status": "Approved"})
    assert response.status_code == 409
    assert "Somebody was faster: the model is Rejected." in response.text
    assert cloud.packages[0]["ModelApprovalStatus"] == "Rejected"


@pytest.mark.parametrize("status", ["", "PendingManualApproval"])
def test_other_decisions_are_refused(browser: Browser, cloud: Cloud, status: str) -> None:
    assert browser.post("/models/decide", {"package": compared(cloud), "status": status}).status_code == 400


def test_a_package_of_another_environment_is_not_decided(browser: Browser, cloud: Cloud) -> None:
    package = cloud.register("scones-prod-2", ModelPackageGroupName="scones-prod")
    assert browser.post("/models/decide", {"package": package, "status": "Approved"}).status_code == 409
    assert cloud.packages[0]["ModelApprovalStatus"] == "PendingManualApproval"


@pytest.mark.parametrize(
    ("form", "force", "approval"),
    [({}, False, False), ({"force": "on"}, True, False), ({"approval": "on"}, False, True)],
)
def test_retraining_starts_with_what_is_checked(
    browser: Browser, cloud: Cloud, form: dict[str, str], *, force: bool, approval: bool
) -> None:
    response = browser.post("/models/retrain", form)
    assert response.headers["Location"] == "/models?started=new-run"
    assert started(cloud) == [{"trigger": "manual", "force": force, "approval": approval}]
    assert "Started run new-run" in browser.get("/models?started=new-run").text


def test_a_rollback_names_its_model(browser: Browser, cloud: Cloud) -> None:
    assert browser.post("/models/rollback", {"job": "scones-dev-1"}).status_code == 303
    assert started(cloud) == [{"trigger": "manual", "rollback": True, "job": "scones-dev-1"}]
    assert browser.post("/models/rollback", {}).status_code == 400
    assert len(started(cloud)) == 1


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        ("sagemaker:ListModelPackages", "candidate"),
        ("stepfunctions:ListExecutions", "retraining"),
        ("s3:ListObjectsV2", "releases"),
    ],
)
def test_one_missing_permission_leaves_the_rest_of_the_page(
    browser: Browser, cloud: Cloud, operation: str, name: str
) -> None:
    compared(cloud)
    cloud.refuse(operation)
    html = browser.get("/models").text
    assert "Your credentials are missing the permission" in section(html, name)
    assert sum("missing the permission" in section(html, each) for each in ("candidate", "retraining", "releases")) < 3


def test_a_decision_without_the_permission_names_it(browser: Browser, cloud: Cloud) -> None:
    package = compared(cloud)
    cloud.refuse("sagemaker:UpdateModelPackage")
    response = browser.post("/models/decide", {"package": package, "status": "Approved"})
    assert response.status_code == 409
    assert f"missing the permission UpdateModelPackage on {package}" in unescape(response.text)


def test_names_of_others_are_text(browser: Browser, cloud: Cloud) -> None:
    hostile = "test/<img src=x onerror=alert(1)>\u202e.png"
    cloud.evaluate("scones-dev-1", {hostile: (0, 0.9)}, calibration_error=0.1)
    cloud.evaluate("scones-dev-2", {hostile: (0, 0.1)}, calibration_error=0.1)
    cloud.register("scones-dev-2", "Approved", ApprovalDescription="<script>alert(1)</script>")
    cloud.register("scones-dev-2")
    cloud.release(NOW, f"s3://{BUCKET}/models/scones-dev-2/output/model.tar.gz")
    cloud.release(NOW + timedelta(minutes=1), ARTIFACT)
    html = browser.get("/models").text
    assert "<img src=x" not in html
    assert "<script>alert" not in html
    assert "\u202e" not in html
