"""What a scanner has to say about one resource."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    scanner: str
    environment: str
    rule: str
    resource: str
    message: str
