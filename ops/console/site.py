"""The deployed environment that the pages show."""

from dataclasses import dataclass

from starlette.requests import Request

from data_prep.target import current_target
from ops.aws import deployment
from stacks.config import EnvironmentConfig


@dataclass(frozen=True)
class Site:
    """The environment and its location."""

    config: EnvironmentConfig
    bucket: str
    state_machine_arn: str
    place: str  # account, region and address, for people

    @property
    def workflows(self) -> tuple[str, ...]:
        """ARNs of the state machines that classify: the workflow for uploads, and the bulk workflows."""
        here = self.state_machine_arn.rpartition(":")[0]
        bulk = (self.config.distributed_map_name, self.config.batch_transform_name)
        return self.state_machine_arn, *(f"{here}:{name}" for name in bulk)

    @classmethod
    def deployed(cls, config: EnvironmentConfig) -> "Site":
        """Find a deployed environment; raises DataPrepError if it is not deployed."""
        found = deployment(config)
        return cls(config, found.bucket, found.state_machine_arn, str(current_target()))


def site(request: Request) -> Site:
    """The site of the application that received the request."""
    found = request.app.state.site
    assert isinstance(found, Site)  # noqa: S101 - create_app put it there
    return found
