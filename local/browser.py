"""Drives a page in Chromium through the DevTools protocol: https://chromedevtools.github.io/devtools-protocol/.

Used by the scenarios with a person at the console, and by tests.
"""

import base64
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from local.cloud import LocalCloudError
from local.demonstration import UnexpectedError
from stacks.config import PROJECT_ROOT

NAMES = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
PACKAGED = PROJECT_ROOT / "node_modules/.browser"  # installed by `make browser` if none of these is found
CONSOLE = {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"}
# Only this machine's addresses resolve
LOOPBACK_ONLY = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
# Only for a browser that hangs; nothing else depends on it
TIMEOUT = 600


class NoBrowserError(LocalCloudError):
    """When this machine has no supported browser."""


class BrowserError(UnexpectedError):
    """When a command to the browser or its page fails."""


def installed() -> str | None:
    """The machine's own browser."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """A headless Chromium with one page at a time, which opens only the addresses that its options allow."""

    def __init__(self, profile: Path, options: tuple[str, ...]) -> None:
        own = installed()
        path = own or str(PACKAGED / "chromium")
        if not Path(path).exists():
            raise NoBrowserError("no Chromium, Chrome or Edge is installed: run `make browser`, or install one")
        packaged = {"LD_LIBRARY_PATH": f"{PACKAGED}/al2023/lib", "XDG_DATA_HOME": str(PACKAGED)}
        # Chromium puts a socket there, and cannot start if its path is longer than 107 bytes
        environment = {name: value for name, value in os.environ.items() if name != "TMPDIR"}
        profile.mkdir(parents=True, exist_ok=True)
        self._log = profile / "stderr.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    # --remote-debugging-pipe reads commands from descriptor 3 and writes to 4
                    *("sh", "-c", 'exec "$@" 3<&0 4>&1 </dev/null >&2', "sh", path),
                    "--headless",
                    "--remote-debugging-pipe",
                    "--disable-gpu",
                    "--no-first-run",
                    *(["--no-sandbox"] if os.geteuid() == 0 else []),  # Chromium cannot run its sandbox as root
                    f"--user-data-dir={profile}",
                    "--host-resolver-rules=MAP * ~NOTFOUND",
                    "--allow-file-access-from-files",
                    "--window-size=1280,1000",
                    *options,
                ],
                env=environment | ({} if own else packaged),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._commands, self._answers = _pipes(self._process)
        self._watch = threading.Timer(TIMEOUT, self._process.kill)
        self._watch.start()
        self._messages = self._received()
        self._session: dict[str, str] = {}
        self._sent = 0
        try:
            self.start_over()
        except (BrowserError, OSError):
            self.close()
            raise

    def start_over(self) -> None:
        """Replace the page by an empty one without its cookies, storage and console messages."""
        self._session = {}
        for context in self.call("Target.getBrowserContexts")["browserContextIds"]:
            self.call("Target.disposeBrowserContext", browserContextId=context)
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        self.console: list[dict[str, Any]] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """The result of a command to the page."""
        self._sent += 1
        command = {"id": self._sent, "method": method, "params": params, **self._session}
        self._commands.write(json.dumps(command).encode() + b"\0")
        self._commands.flush()
        answer = self._next(id=self._sent)
        if "result" not in answer:
            raise BrowserError(f"the browser refuses {method}: {answer}")
        return answer["result"]

    def wait_for(self, method: str) -> None:
        """Read messages until the event `method`."""
        self._next(method=method)

    def open(self, url: str) -> None:
        """Go to an address and wait until the page has loaded."""
        if error := self.call("Page.navigate", url=url).get("errorText"):
            raise BrowserError(f"{url} cannot be opened: {error}")
        self.wait_for("Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page; if it is a promise, of the promise."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_until(self, expression: str) -> None:
        """Wait until an expression in the page is true or an element. The page may navigate meanwhile."""
        deadline = time.monotonic() + TIMEOUT
        while not self.evaluate(f"!!({expression})"):
            if time.monotonic() > deadline:
                raise BrowserError(f"never true: {expression}\n{self.text()}\n{self.console}")
            time.sleep(0.05)

    def text(self) -> str:
        """The visible text of the page."""
        return str(self.evaluate("document.body.innerText"))

    def press(self, key: str) -> None:
        """Press and release a key: a character, or the name of a key such as Tab."""
        names: dict[str, dict[str, Any]] = {
            "Enter": {"text": "\r", "windowsVirtualKeyCode": 13},
            "Tab": {"windowsVirtualKeyCode": 9},
        }
        pressed: dict[str, Any] = {"text": key} if len(key) == 1 else names.get(key, {})
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **pressed)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def choose_files(self, selector: str, *paths: Path) -> None:
        """Select files in a file input."""
        document = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path.resolve()) for path in paths])

    def look(self, *, width: int = 1280, height: int = 900, scheme: str = "light", media: str = "screen") -> None:
        """Emulate a screen or paper (`print`) of this size, and the user's preferred colour scheme."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def screenshot(self, path: Path) -> None:
        """Write a screenshot as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        self._watch.cancel()
        self._process.kill()
        self._process.communicate()

    def _next(self, **members: object) -> dict[str, Any]:
        """The next message of the page with these members."""
        for message in self._messages:
            if message.get("sessionId") != self._session.get("sessionId"):
                continue
            if message.get("method") in CONSOLE:
                self.console.append(message)
            if members.items() <= message.items():
                return message
        last = self._log.read_text(errors="replace")[-2000:]
        raise BrowserError(f"the browser ended with {self._process.wait()} before {members}; its log ends with\n{last}")

    def _received(self) -> Iterator[dict[str, Any]]:
        pending = b""
        while chunk := os.read(self._answers.fileno(), 1 << 16):
            *messages, pending = (pending + chunk).split(b"\0")
            yield from map(json.loads, messages)


@contextmanager
def started(profile: Path, *options: str) -> Iterator[Browser]:
    """A browser until the end of the block; raises NoBrowserError. profile: a folder for its own files."""
    browser = Browser(profile, options)
    try:
        yield browser
    finally:
        browser.close()


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if not process.stdin or not process.stdout:
        raise BrowserError("the browser was started without pipes")
    return process.stdin, process.stdout
