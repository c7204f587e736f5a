"""`python -m ops cost --actual`: requests to Cost Explorer, validated against its model, and possible responses."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from botocore.stub import Stubber

from data_prep.target import Target
from ops.cost import command
from ops.cost.actual import actual_cost
from ops.errors import OpsError
from tests.unit.ops.conftest import run
from tests.unit.stand_in import client_for

TODAY = date(2026, 11, 26)
REQUEST: dict[str, Any] = {
    "TimePeriod": {"Start": "2026-10-27", "End": "2026-11-26"},
    "Granularity": "MONTHLY",
    "Metrics": ["UnblendedCost"],
    "Filter": {"Tags": {"Key": "environment", "Values": ["dev"], "MatchOptions": ["EQUALS"]}},
    "GroupBy": [{"Type": "DIMENSION", "Key": "SERVICE"}],
}


@pytest.fixture
def explorer() -> Iterator[tuple[Any, Stubber]]:
    client = client_for("ce")
    with Stubber(client) as stubber:
        yield client, stubber
        stubber.assert_no_pending_responses()


def page(costs: dict[str, str], **more: Any) -> dict[str, Any]:
    groups = [
        {"Keys": [service], "Metrics": {"UnblendedCost": {"Amount": amount, "Unit": "USD"}}}
        for service, amount in costs.items()
    ]
    return {"ResultsByTime": [{"Groups": groups, "Total": {}, "Estimated": True}], **more}


def test_the_environment_s_tag_is_asked_for_page_by_page_and_services_are_summed(explorer: tuple[Any, Stubber]) -> None:
    client, stubber = explorer
    stubber.add_response("get_cost_and_usage", page({"AWS Lambda": "0.5"}, NextPageToken="more"), REQUEST)
    stubber.add_response(
        "get_cost_and_usage",
        page({"Amazon SageMaker": "70.25", "AWS Lambda": "0.25"}),
        {**REQUEST, "NextPageToken": "more"},
    )
    found = actual_cost(client, "dev", today=TODAY)
    assert found.services == {"Amazon SageMaker": 70.25, "AWS Lambda": 0.75}
    assert (found.dollars, found.requests) == (71.0, 2)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("AccessDeniedException", "you need ce:GetCostAndUsage, and .* IAM access to Billing"),
        ("DataUnavailableException", "has no data yet"),
        ("LimitExceededException", "Cost Explorer refuses: .*LimitExceededException"),
    ],
)
def test_a_missing_permission_is_reported(explorer: tuple[Any, Stubber], code: str, message: str) -> None:
    client, stubber = explorer
    stubber.add_client_error("get_cost_and_usage", code)
    with pytest.raises(OpsError, match=message):
        actual_cost(client, "dev", today=TODAY)


def asked(monkeypatch: pytest.MonkeyPatch, client: Any, endpoint: str) -> None:
    monkeypatch.setattr(command, "current_target", lambda: Target("111122223333", "us-east-1", endpoint))
    monkeypatch.setattr("data_prep.aws.cost_explorer", lambda: client)


def test_without_costs_it_suggests_that_the_tag_is_not_active(
    explorer: tuple[Any, Stubber], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client, stubber = explorer
    stubber.add_response("get_cost_and_usage", page({}))
    asked(monkeypatch, client, "https://cloudformation.us-east-1.amazonaws.com")
    assert run("cost", "--actual") == 0
    said = capsys.readouterr().out
    assert "the tag must be active under Billing, Cost allocation tags" in said
    assert "This answer cost 0.01 USD (1 requests)." in said


def test_the_local_cloud_is_not_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked(monkeypatch, None, "http://127.0.0.1:4566")
    assert run("cost", "--actual") == 1
    assert "the local cloud costs nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("region", "remark"), [("us-east-1", ""), ("eu-west-1", "The prices of eu-west-1, your region")]
)
def test_prices_of_another_region_are_not_taken_for_one_s_own(
    monkeypatch: pytest.MonkeyPatch, region: str, remark: str
) -> None:
    monkeypatch.setenv("AWS_REGION", region)
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    said = command._other_region("us-east-1")
    assert remark in said
    assert bool(said) == bool(remark)
