"""What a scanner has to say about one resource."""

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
        """The rule without its pack: some packs ask the same under the same name."""
        return self.rule.rpartition("-")[2]
