"""Restricts the console to the browser that opened the printed address, and to its own pages.

The server listens on the loopback address. That is not enough: any page in the browser can send requests to it, even
from the same origin if a host name resolves to it. So each request must name the printed address as its host, and carry
the cookie that this address set. A request that changes something must be a POST from one of the console's own pages
(Origin), with the token that only these contain.
"""

import secrets
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The workflow's limit for an image, and some bytes for the form around it
MAX_BODY_BYTES = 256 * 1024

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Other sites do not get the address; `no-referrer` would also remove the Origin from the console's own forms
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def _secret() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class Session:
    """One start of the console: its address, the token in the printed address, and the token of its forms."""

    port: int
    token: str = field(default_factory=_secret)
    form_token: str = field(default_factory=_secret)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def origin(self) -> str:
        return f"http://{self.host}"

    @property
    def address(self) -> str:
        """The printed address."""
        return f"{self.origin}/?{urlencode({'token': self.token})}"

    @property
    def cookie(self) -> str:
        """The cookie's name has the port, because browsers send cookies to all ports of a host."""
        return f"console-{self.port}"


class RefusedError(Exception):
    """When a request is refused: the HTTP status, and what to do."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Guard:
    """Middleware for all requests, including those without a route.

    It reads the request's body into `request.state.body`, and the fields of a form into `request.state.form`.
    """

    def __init__(self, app: ASGIApp, session: Session) -> None:
        self._app = app
        self._session = session

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # the server closes WebSockets that are not accepted

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except RefusedError as refused:
            response = PlainTextResponse(f"{refused}\n", refused.status)
        except ClientDisconnect:
            return
        await (response or self._app)(scope, receive, send_with_headers)

    async def _answer(self, request: Request) -> Response | None:
        """A response in place of the application's, or None; raises RefusedError."""
        self._check_sender(request)
        if "token" in request.query_params:
            return self._signed_in(request)
        if not _equal(request.cookies.get(self._session.cookie, ""), self._session.token):
            raise RefusedError(401, "Open the address that `python -m ops console` printed when it started.")
        body = await _body(request)
        is_form = request.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded")
        request.state.body = body
        request.state.form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)) if is_form else {}
        if request.method not in {"GET", "HEAD"}:
            self._check_change(request)
        return None

    def _check_sender(self, request: Request) -> None:
        """Raise RefusedError for a request that no page of the console sends."""
        session = self._session
        if request.headers.getlist("Host") != [session.host]:
            raise RefusedError(421, f"The console takes requests for {session.origin} only.")
        # From another site's form, script or image: https://www.w3.org/TR/fetch-metadata/
        if {*request.headers.getlist("Origin")} - {session.origin} or {*request.headers.getlist("Sec-Fetch-Site")} - {
            "none",
            "same-origin",
        }:
            raise RefusedError(
                403, "The console takes requests of its own pages only. Open its address in a tab of its own."
            )

    def _signed_in(self, request: Request) -> Response:
        """Set the cookie and redirect to the address without the token; raises RefusedError."""
        if request.method != "GET" or not _equal(request.query_params["token"], self._session.token):
            raise RefusedError(
                401, "This address is of another start of the console: open the one that was printed last."
            )
        # A path of this origin: after two slashes, the browser would read a host
        response = RedirectResponse("/" + request.url.path.lstrip("/"), 303)
        response.set_cookie(self._session.cookie, self._session.token, httponly=True, samesite="strict")
        return response

    def _check_change(self, request: Request) -> None:
        """Raise RefusedError for a change that does not come from a page of the console."""
        if request.method != "POST":
            raise RefusedError(405, "Changes are made by POST.")
        token = request.headers.get("X-Form-Token") or request.state.form.get("form_token", "")
        if "Origin" not in request.headers or not _equal(token, self._session.form_token):
            raise RefusedError(403, "Changes are made by the console's own pages: reload the page and try again.")


def _equal(given: str, secret: str) -> bool:
    return secrets.compare_digest(given.encode(), secret.encode())


async def _body(request: Request) -> bytes:
    """Raises RefusedError if it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise RefusedError(413, f"The console takes at most {MAX_BODY_BYTES:,} bytes at once.")
    return bytes(body)
