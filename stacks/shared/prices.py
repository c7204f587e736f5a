"""AWS's list prices, copied from the pages that prices.json names; used by an alarm, `ops cost` and `ops diff`."""

import json
from functools import cache
from pathlib import Path
from typing import Any

PRICES = Path(__file__).with_name("prices.json")


@cache
def price_list() -> dict[str, Any]:
    """The prices in USD by name (`prices`), their `region` and their `date`."""
    content: dict[str, Any] = json.loads(PRICES.read_text(encoding="utf-8"))
    return content


def instance_hour(instance_type: str) -> float | None:
    """USD per hour of an endpoint's instance; None if the list does not have the type."""
    price: float | None = price_list()["prices"].get(f"sagemaker.instance_hour.{instance_type}")
    return price
