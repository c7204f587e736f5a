"""`python -m ops console`."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Annotated

import hypercorn.asyncio
import hypercorn.config
import typer
from starlette.applications import Starlette

from data_prep.options import EnvironmentName
from ops.console.app import create_app
from ops.console.security import Session
from ops.console.site import Site
from ops.errors import OpsError
from stacks.config import load_environment


def console(
    env: EnvironmentName = "dev",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of 127.0.0.1; 0 takes a free one.")] = 0,
) -> None:
    """Show an environment in your browser: its state, pictures to classify and to review, models to approve.

    It runs with your credentials until Ctrl-C, on 127.0.0.1, and only for the browser that opens the printed address.
    """
    site = Site.deployed(load_environment(env))
    with listening(port) as listener:
        session = Session(listener.getsockname()[1])
        typer.echo(f"Environment {env} in {site.place}", err=True)
        typer.echo(session.address)
        asyncio.run(serve(create_app(site, session), listener))


def listening(port: int) -> socket.socket:
    """A socket on the loopback address, unreachable from other machines; raises OpsError if the port is used."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise OpsError(f"port {port} cannot be used: {error.strerror}. `--port 0` takes a free one") from None


async def serve(
    app: Starlette, listener: socket.socket, *, shutdown: Callable[[], Awaitable[object]] | None = None
) -> None:
    """Answer until `shutdown` returns, or a signal ends the process."""
    config = hypercorn.config.Config()
    config.bind = [f"fd://{listener.detach()}"]  # the server closes it
    config.loglevel = "ERROR"  # errors in pages, but not the server's address, which lacks the token
    config.graceful_timeout = 1
    await hypercorn.asyncio.serve(app, config, shutdown_trigger=shutdown)  # type: ignore[arg-type]
