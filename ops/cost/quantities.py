"""Billed quantities, by the names of the price list, and their cost."""

import math
from collections.abc import Mapping

Quantities = Mapping[str, float]
HOURS_A_MONTH = 730


def dollars(quantities: Quantities, prices: Mapping[str, float]) -> float:
    """The cost in dollars; NaN if the price list lacks one of the prices."""
    return sum(quantity * prices.get(name, math.nan) for name, quantity in quantities.items() if quantity)


def total(*parts: Quantities) -> dict[str, float]:
    return {
        name: sum(part.get(name, 0) for part in parts) for name in sorted({name for part in parts for name in part})
    }


def amount(value: float, decimals: int = 2) -> str:
    """Dollars as text."""
    return "unknown" if math.isnan(value) else f"{value:,.{decimals}f}"
