"""What an environment has cost, as AWS bills it: Cost Explorer by the tag `environment`. A request costs 0.01 USD."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from ops.errors import OpsError

DAYS = 30
REQUEST_USD = 0.01  # https://aws.amazon.com/aws-cost-management/aws-cost-explorer/pricing/


@dataclass(frozen=True)
class Actual:
    """Dollars by service, without taxes and credits, of the days from `start` until before `end`."""

    start: date
    end: date
    services: dict[str, float]
    requests: int

    @property
    def dollars(self) -> float:
        return sum(self.services.values())


def actual_cost(ce: Any, environment: str, *, today: date | None = None) -> Actual:
    """The costs of the last 30 whole days; raises OpsError if access is denied or there is no data."""
    end = today or datetime.now(UTC).date()
    start = end - timedelta(days=DAYS)
    services: dict[str, float] = {}
    requests = 0
    try:
        for page in _pages(ce, environment, start, end):
            requests += 1
            for period in page["ResultsByTime"]:
                for group in period["Groups"]:
                    (service,) = group["Keys"]
                    amount = float(group["Metrics"]["UnblendedCost"]["Amount"])
                    services[service] = services.get(service, 0) + amount
    except ClientError as error:
        raise OpsError(_reason(error)) from error
    return Actual(start, end, dict(sorted(services.items(), key=lambda item: -item[1])), requests)


def _pages(ce: Any, environment: str, start: date, end: date) -> Iterator[Any]:
    """https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_GetCostAndUsage.html"""
    request: Any = {
        "TimePeriod": {"Start": start.isoformat(), "End": end.isoformat()},
        "Granularity": "MONTHLY",
        "Metrics": ["UnblendedCost"],
        "Filter": {"Tags": {"Key": "environment", "Values": [environment], "MatchOptions": ["EQUALS"]}},
        "GroupBy": [{"Type": "DIMENSION", "Key": "SERVICE"}],
    }
    while True:
        page = ce.get_cost_and_usage(**request)
        yield page
        if not page.get("NextPageToken"):
            return
        request["NextPageToken"] = page["NextPageToken"]


def _reason(error: ClientError) -> str:
    code = error.response["Error"]["Code"]
    if code == "DataUnavailableException":
        return "Cost Explorer has no data yet: it takes up to a day after it was opened for the first time"
    if code in {"AccessDeniedException", "AccessDenied"}:
        return (
            "Cost Explorer refuses: you need ce:GetCostAndUsage, and in the account's settings IAM access to Billing "
            "must be active"
        )
    return f"Cost Explorer refuses: {error}"


NOTHING_FOUND = (
    "AWS has billed nothing with the tag environment = {environment!r}. If that surprises you: the tag must be active "
    "under Billing, Cost allocation tags, and what was spent before, or within the last day, is not there."
)
