"""Which AWS the commands talk to: account, region and endpoint."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from data_prep import aws


@dataclass(frozen=True)
class Target:
    """An account and region, and the address of its services."""

    account: str
    region: str
    endpoint: str  # CloudFormation's, as a URL

    @property
    def is_local(self) -> bool:
        """Whether requests stay on this machine."""
        host = urlsplit(self.endpoint).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    def __str__(self) -> str:
        kind = "local cloud" if self.is_local else "AWS"
        return f"{kind}, account {self.account}, region {self.region}, endpoint {self.endpoint}"


def current_target() -> Target:
    """Where the commands of this process go; asks STS whose credentials they are."""
    meta = aws.cloudformation().meta
    return Target(
        account=aws.sts().get_caller_identity()["Account"], region=meta.region_name, endpoint=meta.endpoint_url
    )
