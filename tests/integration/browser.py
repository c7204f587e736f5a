"""A page in a real Chromium, driven through its DevTools protocol: https://chromedevtools.github.io/devtools-protocol/."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stacks.config import PROJECT_ROOT

NAMES = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
PACKAGED = PROJECT_ROOT / "node_modules/.browser"  # what `make browser` installs where none of them is found
CONSOLE = {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"}
# Gives up on a browser that hangs; no test depends on it
TIMEOUT = 120


def installed() -> str | None:
    """The machine's own browser."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class _Browser:
    """A headless Chromium with one page, which opens no address but those that its options let through."""

    def __init__(self, profile: Path, options: tuple[str, ...]) -> None:
        own = installed()
        path = own or str(PACKAGED / "chromium")
        if not Path(path).exists():
            # In CI a skipped test is a test that nobody has
            refuse = pytest.fail if os.environ.get("CI") else pytest.skip
            refuse("no Chromium, Chrome or Edge is installed: run `make browser`, or install one")
        packaged = {"LD_LIBRARY_PATH": f"{PACKAGED}/al2023/lib", "XDG_DATA_HOME": str(PACKAGED)}
        self._process = subprocess.Popen(
            [
                # --remote-debugging-pipe reads commands from descriptor 3 and writes to 4
                *("sh", "-c", 'exec "$@" 3<&0 4>&1 </dev/null >&2', "sh", path),
                "--headless",
                "--remote-debugging-pipe",
                "--disable-gpu",
                "--no-first-run",
                *(["--no-sandbox"] if os.geteuid() == 0 else []),  # Chromium refuses a sandbox to root
                f"--user-data-dir={profile}",
                "--host-resolver-rules=MAP * ~NOTFOUND",
                "--allow-file-access-from-files",
                "--window-size=1280,1000",
                *options,
            ],
            env=os.environ | ({} if own else packaged),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._watch = threading.Timer(TIMEOUT, self._process.kill)
        self._watch.start()
        self._messages = self._received()
        self._session: dict[str, str] = {}
        self._sent = 0
        self.console: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """The result of a command to the page."""
        assert self._process.stdin
        self._sent += 1
        command = {"id": self._sent, "method": method, "params": params, **self._session}
        self._process.stdin.write(json.dumps(command).encode() + b"\0")
        self._process.stdin.flush()
        answer = self._next(id=self._sent)
        assert "result" in answer, answer
        return answer["result"]

    def wait_for(self, method: str) -> None:
        """Read on until the event `method`."""
        self._next(method=method)

    def close(self) -> None:
        self._watch.cancel()
        self._process.kill()
        self._process.communicate()

    def _next(self, **members: object) -> dict[str, Any]:
        """The next message with these members."""
        for message in self._messages:
            if message.get("method") in CONSOLE:
                self.console.append(message)
            if members.items() <= message.items():
                return message
        raise AssertionError(f"the browser ended before {members}")

    def _received(self) -> Iterator[dict[str, Any]]:
        assert self._process.stdout
        pending = b""
        while chunk := os.read(self._process.stdout.fileno(), 1 << 16):
            *messages, pending = (pending + chunk).split(b"\0")
            yield from map(json.loads, messages)


@contextmanager
def _browser(profile: Path, options: tuple[str, ...]) -> Iterator[_Browser]:
    browser = _Browser(profile, options)
    try:
        yield browser
    finally:
        browser.close()


def opened(url: str, *options: str, profile: Path, scheme: str = "light") -> tuple[str, list[dict[str, Any]]]:
    """The document eight seconds (of the page's clock) after it was opened, and what came up in its console.

    profile: a folder for the browser's own files. scheme: the colours that the user prefers, light or dark.
    """
    with _browser(profile, options) as browser:
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        browser.call("Page.navigate", url=url)
        browser.call("Emulation.setVirtualTimePolicy", policy="pauseIfNetworkFetchesPending", budget=8000)
        browser.wait_for("Emulation.virtualTimeBudgetExpired")
        document = browser.call("Runtime.evaluate", expression="document.documentElement.outerHTML")["result"]["value"]
        return document, browser.console


if __name__ == "__main__":
    sys.exit(installed() is None)
