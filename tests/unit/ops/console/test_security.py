"""The requests that the console accepts, and what its pages may do."""

import re

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from ops.console.security import HEADERS, MAX_BODY_BYTES, Guard, Session
from tests.unit.ops.console.conftest import Browser

# A file, a page, a page that does not exist
PATHS = ("/static/console.css", "/page.css", "/", "/nowhere")


def test_the_address_gives_a_cookie_and_leaves_the_bar_without_its_token(
    stranger: TestClient, session: Session
) -> None:
    response = stranger.get(session.address)
    assert (response.status_code, response.headers["Location"]) == (303, "/")
    cookie = response.headers["Set-Cookie"]
    assert re.search(r"^console-8765=\S+; HttpOnly; Path=/; SameSite=strict$", cookie)
    assert stranger.get("/").status_code == 200


def test_the_address_of_another_start_opens_nothing(stranger: TestClient, session: Session) -> None:
    response = stranger.get(Session(session.port).address)
    assert response.status_code == 401
    assert "Set-Cookie" not in response.headers


def test_signing_in_leads_to_no_other_host(stranger: TestClient, session: Session) -> None:
    response = stranger.get(f"{session.origin}//example.com/?token={session.token}")
    assert response.headers["Location"] == "/example.com/"


@pytest.mark.parametrize("path", PATHS)
def test_without_the_cookie_nothing_is_answered(stranger: TestClient, session: Session, path: str) -> None:
    stranger.cookies.set(session.cookie, "guessed")
    assert stranger.get(path).status_code == 401


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example:8765"},
        {"Host": "localhost:8765"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1:9999"},
        {"Origin": "https://example.com"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},  # another port of this machine, which the cookie goes along to
    ],
)
def test_a_request_of_another_site_is_refused_though_the_cookie_came_with_it(
    browser: Browser, path: str, headers: dict[str, str]
) -> None:
    response = browser.get(path, headers=headers)
    assert response.status_code in {403, 421}


@pytest.mark.parametrize(("name", "another"), [("Host", "example.com"), ("Origin", "https://example.com")])
def test_a_repeated_header_is_refused(browser: Browser, name: str, another: str) -> None:
    own = {"Host": browser.session.host, "Origin": browser.session.origin}[name]
    assert browser.get("/", headers=[(name, own), (name, another)]).status_code in {403, 421}


@pytest.mark.parametrize("path", ["../app.py", "%2e%2e/app.py", "..%2fapp.py", "..%5capp.py", "%2fetc/passwd", ""])
def test_no_file_is_served_but_those_of_the_pages(browser: Browser, path: str) -> None:
    assert browser.get("/static/console.css").status_code == 200
    assert browser.get(f"/static/{path}").status_code == 404


@pytest.fixture
def changes() -> list[dict[str, str]]:
    return []


@pytest.fixture
def changing(session: Session, changes: list[dict[str, str]]) -> Browser:
    """A browser before an application that can change something."""

    def change(request: Request) -> Response:
        changes.append(request.state.form)
        return JSONResponse(len(request.state.body))

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    app = Guard(Starlette(routes=[Route("/change", change, methods=methods)]), session)
    client = TestClient(app, base_url=session.origin, cookies={session.cookie: session.token})
    return Browser(client, session)


def test_a_page_of_the_console_changes_things(changing: Browser, changes: list[dict[str, str]]) -> None:
    assert changing.post("/change", {"label": "bicycle & <more>"}).status_code == 200
    assert changes == [{"label": "bicycle & <more>"}]


def test_a_form_carries_the_token_as_a_field(
    changing: Browser, session: Session, changes: list[dict[str, str]]
) -> None:
    form = {"form_token": session.form_token, "label": "bicycle"}
    assert changing.client.post("/change", data=form, headers={"Origin": session.origin}).status_code == 200
    assert len(changes) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Form-Token": ""},
        {"X-Form-Token": "guessed"},
        {"Origin": "https://example.com"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_change_without_the_token_or_from_elsewhere_is_refused(
    changing: Browser, changes: list[dict[str, str]], headers: dict[str, str]
) -> None:
    assert changing.post("/change", headers=headers).status_code == 403
    assert changes == []


def test_a_change_that_names_no_origin_is_refused(
    changing: Browser, session: Session, changes: list[dict[str, str]]
) -> None:
    response = changing.client.post("/change", headers={"X-Form-Token": session.form_token})
    assert response.status_code == 403
    assert changes == []


def test_a_token_in_the_address_changes_nothing(
    changing: Browser, session: Session, changes: list[dict[str, str]]
) -> None:
    headers = {"X-Form-Token": "", "Content-Type": "text/plain"}
    content = f"form_token={session.form_token}"
    assert changing.post(f"/change?{content}", content=content, headers=headers).status_code == 403
    assert changes == []


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS"])
def test_only_a_post_changes_things(
    changing: Browser, session: Session, changes: list[dict[str, str]], method: str
) -> None:
    headers = {"Origin": session.origin, "X-Form-Token": session.form_token}
    assert changing.client.request(method, "/change", headers=headers).status_code == 405
    assert changes == []


def test_a_body_is_taken_up_to_the_limit(changing: Browser, changes: list[dict[str, str]]) -> None:
    assert changing.post("/change", content=bytes(MAX_BODY_BYTES)).json() == MAX_BODY_BYTES
    assert changing.post("/change", content=bytes(MAX_BODY_BYTES + 1)).status_code == 413
    assert len(changes) == 1


@pytest.mark.parametrize("path", PATHS)
def test_every_response_has_the_security_headers(browser: Browser, stranger: TestClient, path: str) -> None:
    for response in (browser.get(path), stranger.get(path, headers={"Host": "example.com"})):
        assert {name: response.headers[name] for name in HEADERS} == HEADERS


def test_a_page_runs_no_script_and_no_style_of_its_own_text(browser: Browser) -> None:
    policy = HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; script-src 'self';")
    text = browser.get("/").text
    assert not re.search(r"<script(?![^>]*\bsrc=\"/)|<style|\son\w+=|\sstyle=", text)
