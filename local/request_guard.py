"""Whose requests the local cloud takes: those of this user's own tools, not of a web page or of another user.

Both processes run code for any client they serve, and not only their user can reach 127.0.0.1: every page in a
browser may send a POST that asks no permission, a name that an attacker points at 127.0.0.1 gives their page the
listener's own origin, and other local users may connect. Browsers say what a page sent, in headers that no script can
set or remove (https://fetch.spec.whatwg.org/#forbidden-request-header); other users do not know the access key.
"""

from collections.abc import Iterable

ADDRESS = "127.0.0.1"


def refusal(headers: Iterable[tuple[str, str]], *, port: int) -> str:
    """Why a request with these headers is refused by the process that listens on this port; empty if it is not."""
    fields = [(name.lower(), value) for name, value in headers]
    if any(name == "origin" or (name == "sec-fetch-site" and value != "none") for name, value in fields):
        return "The local cloud takes no requests of web pages."
    if [value for name, value in fields if name == "host"] != [f"{ADDRESS}:{port}"]:
        return f"The local cloud takes requests for http://{ADDRESS}:{port} only."
    return ""


def naming(access_key: str) -> dict[str, str]:
    """The header of a request that names its access key as a signed one does: this project's own requests are not."""
    return {"Authorization": f"AWS4-HMAC-SHA256 Credential={access_key}/unsigned"}
