"""What `doctor` says of one thing that it looked at."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `failed` stops a deployment; `warning` does not."""

    name: str
    status: Literal["ok", "warning", "failed"]
    found: str
    fix: str = ""
