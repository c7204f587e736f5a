"""The result of one check of `doctor`."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """The result of one check. `failed` stops a deployment; `warning` does not."""

    name: str
    status: Literal["ok", "warning", "failed"]
    found: str
    fix: str = ""
