"""The console in this process, with a browser's requests as Starlette's client sends them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_socket
from starlette.testclient import TestClient

from ops.console.app import create_app
from ops.console.security import Session
from ops.console.site import Site
from stacks.config import load_environment
from tests.unit.ops.console.cloud import BUCKET, STATE_MACHINE, Cloud, cloud

__all__ = ["cloud"]


@pytest.fixture(autouse=True)
def _no_sockets() -> None:
    # An event loop wakes itself through a pair of them
    pytest_socket.disable_socket(allow_unix_socket=True)


@pytest.fixture
def session() -> Session:
    return Session(8765)


@pytest.fixture
def site() -> Site:
    return Site(load_environment("dev"), BUCKET, STATE_MACHINE, "AWS (account 123456789012, region us-east-1)")


@dataclass(frozen=True)
class Browser:
    """A browser that has opened the console's address."""

    client: TestClient
    session: Session

    def get(self, path: str, **options: Any) -> Any:
        return self.client.get(path, **options)

    def post(self, path: str, form: dict[str, str] | None = None, **options: Any) -> Any:
        """As the console's own pages do: with their Origin and the token of their forms."""
        headers = {"Origin": self.session.origin, "X-Form-Token": self.session.form_token} | options.pop("headers", {})
        return self.client.post(path, data=form, headers=headers, **options)


@pytest.fixture
def stranger(site: Site, session: Session, cloud: Cloud) -> Iterator[TestClient]:
    """A client that has opened nothing yet."""
    with TestClient(create_app(site, session), base_url=session.origin, follow_redirects=False) as client:
        yield client


@pytest.fixture
def browser(stranger: TestClient, session: Session) -> Browser:
    response = stranger.get(session.address)
    assert response.status_code == 303
    return Browser(stranger, session)
