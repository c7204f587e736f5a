"""The page Now of an environment, and the page of one execution."""

import json
import re
from datetime import timedelta
from html import unescape

import pytest

from ops.console.health import alarm_names
from tests.unit.ops.console.cloud import ARTIFACT, BATCH_TRANSFORM, NOW, Cloud, accepted, failed, rejected
from tests.unit.ops.console.conftest import Browser

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def words(html: str) -> str:
    """The text of a page, as it is read."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def table(html: str, title: str) -> dict[str, tuple[int, int]]:
    """Counts of the last hour and the last day, by name."""
    (body,) = re.findall(rf'<th scope="col">{title}</th>.*?<tbody>(.*?)</tbody>', html, flags=re.DOTALL)
    rows = re.findall(r'<th scope="row">(.*?)</th><td>([\d,]+)</td><td>([\d,]+)</td>', body)
    return {name: (int(hour.replace(",", "")), int(day.replace(",", ""))) for name, hour, day in rows}


def test_executions_and_images_are_counted_by_outcome_within_the_hour_and_the_day(
    browser: Browser, cloud: Cloud
) -> None:
    cloud.execute("a", accepted(), accepted())
    cloud.execute("b", accepted(), rejected(), status="FAILED", ago=HOUR - timedelta(minutes=1))
    cloud.execute("c", accepted(), rejected(), failed(), status="FAILED", ago=HOUR * 2)
    cloud.execute("d", status="RUNNING")
    cloud.execute("e", status="TIMED_OUT", ago=DAY - HOUR)
    cloud.execute("f", accepted(), ago=DAY + HOUR)
    html = browser.get("/").text
    assert table(html, "Executions") == {
        "running": (1, 1),
        "succeeded": (1, 1),
        "rejected": (1, 1),
        "failed": (0, 1),
        "timed out": (0, 1),
        "aborted": (0, 0),
    }
    assert table(html, "Images") == {"accepted": (3, 4), "rejected": (1, 2), "waiting": (0, 0), "failed": (0, 1)}


def test_bulk_runs_are_counted_by_their_summaries_and_open_as_executions(browser: Browser, cloud: Cloud) -> None:
    cloud.execute("a", accepted())
    counts = {"ACCEPTED": 1200, "REJECTED": 30, "WAITING": 0, "FAILED": 2}
    cloud.execute_bulk("bulk", counts, rejected("scheduled/x.png"), failed("scheduled/y.png"), status="FAILED")
    cloud.execute("lost", workflow=BATCH_TRANSFORM, status="TIMED_OUT", ago=HOUR * 2)
    cloud.execute("long", workflow=BATCH_TRANSFORM, status="RUNNING", ago=DAY * 2)
    html = browser.get("/").text
    assert table(html, "Images") == {
        "accepted": (1201, 1201),
        "rejected": (30, 30),
        "waiting": (0, 0),
        "failed": (2, 2),
    }
    executions = table(html, "Executions")
    assert (executions["failed"], executions["timed out"], executions["running"]) == ((1, 1), (0, 1), (1, 1))
    assert "1,232 images scones-dev-DistributedMap" in words(html)
    assert "scheduled/x.png" in html
    cloud.events = EVENTS
    (path,) = re.findall(r'href="(/executions/scones-dev-DistributedMap/bulk)"', html[html.index('id="executions"') :])
    text = words(browser.get(path).text)
    assert "1,200 accepted, 30 rejected, 2 failed; of a bulk run, the first that were not accepted are listed." in text
    assert "scheduled/y.png failed" in text


def test_only_the_workflows_that_classify_have_executions_to_show(browser: Browser, cloud: Cloud) -> None:
    assert browser.get("/executions/scones-dev-retraining/run").status_code == 404
    assert not cloud.requests


def test_a_manifest_is_read_once(browser: Browser, cloud: Cloud) -> None:
    cloud.execute("a", accepted())
    cloud.execute("b", status="FAILED")
    for _ in range(3):
        assert table(browser.get("/now/parts").text, "Images")["accepted"] == (1, 1)
    keys = [request["Key"] for operation, request in cloud.requests if operation == "s3:GetObject"]
    assert sorted(key for key in keys if key.startswith("manifests/")) == ["manifests/a.json", "manifests/b.json"]


def test_more_executions_than_are_read_are_not_passed_over_in_silence(
    browser: Browser, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.console.activity.MAX_EXECUTIONS", 2)
    for name in "abc":
        cloud.execute(name, accepted())
    assert "there were more within the day" in browser.get("/").text
    cloud.executions = cloud.executions[:2]
    assert "there were more" not in browser.get("/").text


def test_the_newest_that_was_not_accepted_comes_first_with_its_reason(browser: Browser, cloud: Cloud) -> None:
    cloud.execute("old", failed(), status="FAILED", ago=HOUR)
    cloud.execute("new", accepted(), rejected(), status="FAILED")
    cloud.execute("silent", status="ABORTED", ago=HOUR * 2)
    html = browser.get("/").text
    section = words(html[html.index('id="failures"') : html.index('id="executions"')])
    found = [section.index(text) for text in ("LowConfidenceError: 0.61 is", "CorruptImageError: trunc", "ABORTED")]
    assert found == sorted(found)
    assert "bicycle, 0.610" in section
    assert 'href="/executions/scones-dev-classification/new"' in html


def test_the_model_is_in_service_since_the_first_record_of_its_last_release(browser: Browser, cloud: Cloud) -> None:
    other = ARTIFACT.replace("scones-dev-1", "scones-dev-2")
    cloud.release(NOW - timedelta(days=2), other)
    cloud.release(NOW - timedelta(hours=6), ARTIFACT, "UPDATING")
    cloud.release(NOW - timedelta(hours=5), ARTIFACT)
    cloud.release(NOW - timedelta(hours=4), ARTIFACT, "UPDATING")  # more instances
    cloud.release(NOW - timedelta(hours=3), ARTIFACT)
    text = words(browser.get("/").text)
    assert f"scones-dev-1 in service since {NOW - timedelta(hours=5):%Y-%m-%d %H:%M:%S}" in text
    assert "Accuracy 91.0%" in text


def test_metadata_of_another_model_in_the_parameter_is_not_shown(browser: Browser, cloud: Cloud) -> None:
    cloud.metadata["job"] = "scones-dev-2"  # trained, and not deployed yet
    text = words(browser.get("/").text)
    assert "scones-dev-1 in service" in text
    assert "Accuracy" not in text


def test_an_alarm_leads_to_its_section_of_the_runbook(browser: Browser, cloud: Cloud) -> None:
    html = browser.get("/").text
    assert "1 of 2 on" in html
    (link,) = re.findall(r'rejected-share</strong>.*?href="([^"]+)"', html, flags=re.DOTALL)
    assert link == "/runbook#rejected-share"
    runbook = browser.get("/runbook").text
    for name in alarm_names():
        assert f'id="{name}"' in runbook
    assert "<em>Confidence</em>" in runbook
    assert not re.findall(r'href="(?!/|#|https?://)', runbook)


def test_doctor_reports_since_when_an_endpoint_is_paused_and_whether_it_still_exists(
    browser: Browser, cloud: Cloud
) -> None:
    pause = {"paused_at": "2026-11-25T18:00:00+00:00"}
    cloud.objects["endpoint/pause.json"] = json.dumps(pause).encode()
    text = words(browser.get("/").text)
    assert "InService" in text
    assert "A pause since 2026-11-25 18:00 UTC goes on or was interrupted" in text
    cloud.endpoint_exists = False
    text = words(browser.get("/").text)
    assert "Paused since 2026-11-25 18:00:00" in text
    assert "InService" not in text


def test_drift_is_shown_against_its_bound(browser: Browser, cloud: Cloud) -> None:
    assert "PSI 0.123 (alarm from 0.25): no drift, over 321 requests" in words(browser.get("/").text)


ARN = "arn:aws:s3:::scones-dev-data-bucket"


@pytest.mark.parametrize(
    ("operation", "action", "heading"),
    [
        ("stepfunctions:ListExecutions", "states:ListExecutions", None),
        ("sagemaker:DescribeEndpoint", "sagemaker:DescribeEndpoint", "Endpoint and model"),
        ("cloudwatch:DescribeAlarms", "cloudwatch:DescribeAlarms", "Alarms"),
        ("ssm:GetParameter", "ssm:GetParameter", "Endpoint and model"),
        ("s3:ListObjectsV2", "s3:ListBucket", "Endpoint and model"),
    ],
)
def test_a_missing_permission_is_named_where_its_part_of_the_page_would_be(
    browser: Browser, cloud: Cloud, operation: str, action: str, heading: str | None
) -> None:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
    user = "User: arn:aws:iam::123456789012:user/me"
    cloud.refuse(operation, f"{user} is not authorized to perform: {action} on resource: {ARN} because no identity-...")
    cloud.execute("a", accepted())
    whole, less = (browser.get("/").text for cloud._refused in ({}, cloud._refused))
    sections = re.findall(r"<section.*?</section>", less, flags=re.DOTALL)
    refusal = f"Your credentials are missing the permission {action} on {ARN}."
    named = [re.findall("<h2.*?>(.*?)</h2>", section)[0] for section in sections if refusal in section]
    assert named == ([heading] if heading else [])
    assert refusal in less
    assert len(sections) == len(re.findall("<section", whole)) - (0 if heading else 3)


def test_a_refusal_that_names_nothing_is_completed(browser: Browser, cloud: Cloud) -> None:
    cloud.refuse("s3:ListObjectsV2")
    assert "missing the permission s3:ListBucket on bucket scones-dev-data-bucket." in words(browser.get("/").text)


def entered(event: int, previous: int, kind: str, name: str) -> dict[str, object]:
    details = {"stateEnteredEventDetails": {"name": name}}
    return {"id": event, "previousEventId": previous, "type": f"{kind}StateEntered", **details}


def iteration(event: int, previous: int, index: int) -> dict[str, object]:
    details = {"mapIterationStartedEventDetails": {"name": "ClassifyImages", "index": index}}
    return {"id": event, "previousEventId": previous, "type": "MapIterationStarted", **details}


# Of two images at the same time
EVENTS = [
    {"id": 1, "previousEventId": 0, "type": "ExecutionStarted"},
    entered(2, 0, "Pass", "ReadInput"),
    entered(3, 2, "Map", "ClassifyImages"),
    {"id": 4, "previousEventId": 3, "type": "MapStateStarted"},
    iteration(5, 4, 0),
    iteration(6, 4, 1),
    entered(7, 6, "Task", "Classifier"),
    entered(8, 5, "Task", "Classifier"),
    {"id": 9, "previousEventId": 7, "type": "TaskFailed"},
    {"id": 10, "previousEventId": 8, "type": "TaskSucceeded"},
    entered(11, 9, "Pass", "Failed"),
    entered(12, 10, "Task", "FilterConfidence"),
    {"id": 13, "previousEventId": 12, "type": "MapIterationSucceeded"},
    {"id": 14, "previousEventId": 11, "type": "MapIterationSucceeded"},
    {"id": 15, "previousEventId": 14, "type": "MapStateSucceeded"},
    {"id": 16, "previousEventId": 15, "type": "MapStateExited"},
    entered(17, 16, "Choice", "AllAccepted?"),
    entered(18, 17, "Fail", "InferencesRejected"),
]


def test_an_execution_opens_as_the_graph_with_the_way_of_each_image(browser: Browser, cloud: Cloud) -> None:
    cloud.execute("run", accepted(), failed(), status="FAILED")
    cloud.events = EVENTS
    html = browser.get("/executions/scones-dev-classification/run").text
    images = words(html[html.index('id="images"') : html.index("<svg")])
    assert re.search(r"bike\.png accepted bicycle, 0\.970 Classifier → FilterConfidence incoming", images)
    assert re.search(r"torn\.png failed Classifier → Failed CorruptImageError: truncated PNG", images)
    assert html.count("<svg") == 2
    drawn = re.findall(r'<g class="node( taken)?( bad)?">.*?<text[^>]*>(.*?)</text>', html, flags=re.DOTALL)
    assert {(name, bool(taken)) for taken, _, name in drawn} == {
        ("ReadInput", True),
        ("ClassifyImages", True),
        ("AllAccepted?", True),
        ("Accepted", False),
        ("InferencesRejected", True),
        ("Classifier \N{MULTIPLICATION SIGN}2", True),
        ("FilterConfidence", True),
        ("Rejected", False),
        ("Failed", True),
    }
    assert "Classifier (Task): entered 2 times" in words(html)


def test_an_execution_that_runs_has_no_outcomes_yet(browser: Browser, cloud: Cloud) -> None:
    cloud.execute("run", status="RUNNING")
    cloud.events = EVENTS[:3]
    text = words(browser.get("/executions/scones-dev-classification/run").text)
    assert "Running" in text
    assert "has left no manifest yet" in text


def test_an_execution_that_does_not_exist_is_not_found(browser: Browser, cloud: Cloud) -> None:
    assert browser.get("/executions/scones-dev-classification/none").status_code == 404


HOSTILE = [
    '<img src=x onerror="alert(1)">.png',
    "';\"><script>alert(1)</script>.png",
    "{{ 7 * 7 }}{% raw %}.png",
    "line\nbreak\r\x1b[2J.png",
    "gnp.\u202eexe.png",
    "javascript:alert(1)",
]


@pytest.mark.parametrize("key", HOSTILE)
def test_keys_from_every_source_are_shown_as_text(browser: Browser, cloud: Cloud, key: str) -> None:
    cloud.execute("run", failed(f"incoming/{key}", cause=key), {"outcome": key, "error": key}, key, status="FAILED")
    cloud.events = EVENTS
    for path in ("/", "/executions/scones-dev-classification/run"):
        html = browser.get(path).text
        assert not re.search(r"<(img|script(?! type=\"module\" src=\"/static/))", html)
        assert not re.search(r"\son\w+\s*=(?![^<]*&#34;)", re.sub(r">[^<]*<", "><", html))
        assert "49" not in words(html).split()
        assert not re.search(r"[\r\x1b\u202e]", html)
        shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in key)
        assert shown in unescape(html)
