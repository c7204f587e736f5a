"""Decides which clients the local cloud accepts: this user's own tools, and no web page or other user.

Both processes run code for their clients, and others besides their user can reach 127.0.0.1. Every page in a browser
may send a POST without a preflight request; a host name that an attacker points at 127.0.0.1 gives a page the same
origin as the listener; other local users may connect. Browsers mark the requests of pages with headers that no script
can set or remove (https://fetch.spec.whatwg.org/#forbidden-request-header), and other users do not have the access key.
"""

from collections.abc import Iterable

ADDRESS = "127.0.0.1"


def refusal(headers: Iterable[tuple[str, str]], *, port: int) -> str:
    """Why the process on this port refuses a request with these headers; "" if it accepts it."""
    fields = [(name.lower(), value) for name, value in headers]
    if any(name == "origin" or (name == "sec-fetch-site" and value != "none") for name, value in fields):
        return "The local cloud takes no requests of web pages."
    if [value for name, value in fields if name == "host"] != [f"{ADDRESS}:{port}"]:
        return f"The local cloud takes requests for http://{ADDRESS}:{port} only."
    return ""


def naming(access_key: str) -> dict[str, str]:
    """The Authorization header with the access key. This project's own requests are not signed."""
    return {"Authorization": f"AWS4-HMAC-SHA256 Credential={access_key}/unsigned"}
