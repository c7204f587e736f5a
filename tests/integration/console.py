"""The console on its own port, for a real browser."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ops.console.app import create_app
from ops.console.command import listening, serve
from ops.console.security import Session
from ops.console.site import Site


@contextmanager
def served(site: Site, *, port: int = 0) -> Iterator[Session]:
    """Serve the console in a thread until the end of the block; the session has its address."""
    loop, ended = asyncio.new_event_loop(), asyncio.Event()
    with listening(port) as listener:
        session = Session(listener.getsockname()[1])
        app = create_app(site, session)
        thread = threading.Thread(
            target=lambda: loop.run_until_complete(serve(app, listener, shutdown=ended.wait)), name="console"
        )
        thread.start()
        try:
            yield session
        finally:
            loop.call_soon_threadsafe(ended.set)
            thread.join()
            loop.close()
