"""AWS's list prices, typed in from the pages that prices.json names: for an alarm, `ops cost` and `ops diff`."""

import json
from functools import cache
from pathlib import Path
from typing import Any

PRICES = Path(__file__).with_name("prices.json")


@cache
def price_list() -> dict[str, Any]:
    """With `region`, `date` and `prices` in USD by name."""
    content: dict[str, Any] = json.loads(PRICES.read_text(encoding="utf-8"))
    return content


def instance_hour(instance_type: str) -> float | None:
    """None of a type that the list does not have."""
    price: float | None = price_list()["prices"].get(f"sagemaker.instance_hour.{instance_type}")
    return price
