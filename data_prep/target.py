"""The target of the commands: region, account and endpoint, resolved once for boto3 and for the CDK command line.

The two read a shell's settings differently: boto3 does not read AWS_REGION and prefers AWS_DEFAULT_PROFILE
(botocore/configprovider.py), while cdk prefers AWS_REGION and AWS_PROFILE (awscli-compatible.ts of
@aws-cdk/toolkit-lib). Otherwise, one half of a command could run in one region or account and the rest in another.
"""

import ipaddress
import os
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import NoRegionError

from data_prep.errors import TargetError

_BOUNDED = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})


@dataclass(frozen=True)
class Target:
    """An account and region, and the address of its services."""

    account: str
    region: str
    endpoint: str  # CloudFormation's, as a URL

    @property
    def is_local(self) -> bool:
        """Whether requests stay on this machine."""
        return is_loopback(self.endpoint)

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that make a child process, of boto3 or of cdk, use the same target."""
        return {
            # Without the variables that only cdk reads
            **{name: value for name, value in os.environ.items() if not name.startswith("AMAZON_")},
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "CDK_DEFAULT_REGION": self.region,
            "CDK_DEFAULT_ACCOUNT": self.account,
        }

    def __str__(self) -> str:
        kind = "the local cloud" if self.is_local else "AWS"
        return f"{kind} (account {self.account}, region {self.region}, {self.endpoint})"


@cache
def current_target() -> Target:
    """The target of this process's commands. STS returns the account of the credentials.

    Raises TargetError if the shell's settings disagree, and botocore's errors without region or credentials.
    """
    name = region()
    sts = boto3.client("sts", region_name=name, config=_BOUNDED)
    cloudformation = boto3.client("cloudformation", region_name=name)
    return Target(account=sts.get_caller_identity()["Account"], region=name, endpoint=cloudformation.meta.endpoint_url)


def is_local() -> bool:
    """Whether this process's commands use the local cloud; needs neither credentials nor a region."""
    return is_loopback(boto3.client("cloudformation", region_name="us-east-1").meta.endpoint_url)


def make_command(target: str, environment: str) -> str:
    """A `make` command for a hint, for the same target as this process."""
    return f"make {target} ENV={environment}{' LOCAL=1' if is_local() else ''}"


def region() -> str:
    """The region of all clients; raises TargetError if the shell's settings disagree, NoRegionError without one."""
    _check_profile()
    session = botocore.session.Session()
    wanted, fallback = os.environ.get("AWS_REGION"), os.environ.get("AWS_DEFAULT_REGION")
    of_profile = session.get_scoped_config().get("region")
    boto3s, cdks = fallback or of_profile, wanted or fallback or of_profile
    if not cdks:
        raise NoRegionError
    if boto3s and boto3s != cdks:
        settings = {
            "AWS_REGION": wanted,
            "AWS_DEFAULT_REGION": fallback,
            f"the region of profile {session.profile or 'default'}": of_profile,
        }
        found = ", ".join(f"{name} is {value}" for name, value in settings.items() if value)
        raise TargetError(
            f"the region is ambiguous: {found}. boto3 would use {boto3s}, and cdk {cdks}: `unset AWS_REGION`, or "
            "set AWS_REGION and AWS_DEFAULT_REGION to the same region"
        )
    return cdks


def _check_profile() -> None:
    boto3s, cdks = os.environ.get("AWS_DEFAULT_PROFILE"), os.environ.get("AWS_PROFILE")
    if boto3s and cdks and boto3s != cdks:
        raise TargetError(
            f"the profile is ambiguous: AWS_PROFILE is {cdks} and AWS_DEFAULT_PROFILE is {boto3s}. boto3 would use "
            "the second and cdk the first: `unset AWS_DEFAULT_PROFILE`"
        )


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
