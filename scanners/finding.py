"""A scanner's finding on one resource."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    scanner: str
    environment: str
    rule: str
    resource: str
    message: str

    @property
    def name(self) -> str:
        """The rule without its pack: some packs share rules of the same name."""
        return self.rule.rpartition("-")[2]
