"""The console in a real browser, with an environment in memory behind it."""

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.console.security import Session
from ops.console.site import Site
from stacks.config import load_environment
from tests.integration.browser import Browser
from tests.integration.console import served
from tests.integration.test_local_cloud_in_browser import Site as OtherSite
from tests.unit.ops.console.cloud import BUCKET, STATE_MACHINE, Cloud, accepted, cloud, failed, rejected
from tests.unit.ops.console.test_classify import encoded
from tests.unit.ops.console.test_models import compared
from tests.unit.ops.console.test_now import EVENTS, HOSTILE

__all__ = ["cloud"]

SITE = Site(load_environment("dev"), BUCKET, STATE_MACHINE, "AWS")
# With what there is to see on each
PAGES = {
    "/": "#counts",
    "/executions/scones-dev-classification/run": "svg",
    "/classify": "#drop",
    "/runbook": "#drift",
    "/review": "#picture",
    "/models": "main img",
}

PAPER = 718  # pixels: A4 within the browser's margins
# What a page needs for people who see little, or use no mouse: each problem as a line
# https://www.w3.org/TR/WCAG22/#contrast-minimum
PROBLEMS = """(() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const colour = getComputedStyle(element).backgroundColor;
    return /, 0\\)$/.test(colour) && element.parentElement ? ground(element.parentElement) : colour;
  };
  const contrast = (element) => {
    const style = getComputedStyle(element);
    const [dark, bright] = [light(element.closest("svg") ? style.fill : style.color), light(ground(element))].sort((a, b) => a - b);
    return (bright + 0.05) / (dark + 0.05);
  };
  const problems = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (texts.currentNode.data.trim() && element.checkVisibility() && element.localName !== "script" && contrast(element) < 4.5)
      problems.push(`contrast ${contrast(element).toFixed(1)}: ${texts.currentNode.data.trim()}`);
  }
  for (const element of document.querySelectorAll("a, button, input:not([type=hidden]), select, [tabindex='0']")) {
    const name = element.innerText || element.ariaLabel || element.labels?.length || element.getAttribute("aria-labelledby");
    if (!name && element.checkVisibility()) problems.push(`no name: ${element.outerHTML}`);
  }
  for (const image of document.images) if (!image.alt) problems.push(`no alternative: ${image.outerHTML}`);
  for (const element of document.querySelectorAll("[aria-labelledby]"))
    if (!document.getElementById(element.getAttribute("aria-labelledby"))) problems.push(`labelled by nothing: ${element.outerHTML.slice(0, 80)}`);
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  if (new Set(ids).size < ids.length) problems.push("an id twice");
  if (document.querySelectorAll("h1").length !== 1 || document.querySelectorAll("main").length !== 1) problems.push("landmarks");
  // Not innerWidth: a phone zooms out until a page that is too wide fits
  const page = document.documentElement;
  if (page.scrollWidth > page.clientWidth) problems.push(`as wide as ${page.scrollWidth}`);
  const isPaper = matchMedia("print").matches; // where nobody scrolls, and nothing can be pressed
  for (const box of document.querySelectorAll("section, .scroll, label, td, th, dd, figcaption, button, .button")) {
    const cut = Math.max(box.scrollWidth - box.clientWidth, isPaper ? box.scrollHeight - box.clientHeight : 0);
    if (box.clientWidth && cut > 1 && (isPaper || !box.classList.contains("scroll")))
      problems.push(`${cut} pixels of ${box.outerHTML.slice(0, 80)} are cut off`);
  }
  if (isPaper)
    for (const control of document.querySelectorAll("nav, button, .button, input, summary, [href='#main']"))
      if (control.checkVisibility()) problems.push(`on paper: ${control.outerHTML}`);
  return problems;
})()"""  # noqa: E501


@pytest.fixture
def session(cloud: Cloud) -> Iterator[Session]:
    with served(SITE) as found:
        yield found


@pytest.fixture
def browser(browser: Browser, session: Session) -> Browser:
    """Has opened the console's address."""
    browser.open(session.address)
    assert browser.evaluate("location.href") == f"{session.origin}/"
    assert browser.evaluate("document.cookie") == ""
    return browser


def test_every_page_suits_a_phone_a_desk_and_paper_light_and_dark_and_those_who_see_little(
    browser: Browser, session: Session, cloud: Cloud
) -> None:
    dim = "incoming/" + "long" * 60 + ".png"
    cloud.execute("run", accepted(), failed(), rejected(dim), status="FAILED")
    cloud.objects |= dict.fromkeys((dim, "test/a.png", "test/b.png", "test/c.png"), encoded())
    compared(cloud)
    cloud.events = EVENTS
    for path, content in PAGES.items():
        browser.open(session.origin + path)
        assert browser.evaluate(f"document.querySelector('{content}') !== null"), path
        # 320 pixels: a small phone, or a desk at 400% (https://www.w3.org/TR/WCAG22/#reflow)
        for width, scheme, media in ((320, "dark", "screen"), (1280, "light", "screen"), (PAPER, "dark", "print")):
            browser.look(width=width, scheme=scheme, media=media)
            assert browser.evaluate(PROBLEMS) == [], (path, width, scheme, media)
    assert browser.console == []


def test_the_first_key_reaches_the_content(browser: Browser) -> None:
    browser.press("Tab")
    assert browser.evaluate("document.activeElement.textContent") == "Skip to the content"
    browser.press("Enter")
    assert browser.evaluate("location.hash") == "#main"


def test_the_page_refreshes_itself_and_leaves_what_is_open_scrolled_and_focused(
    browser: Browser, session: Session, cloud: Cloud
) -> None:
    cloud.execute("run", *(rejected(f"incoming/{number}.png") for number in range(20)), status="FAILED")
    browser.open(session.origin)
    browser.evaluate("document.querySelector('.scroll').scrollTop = 150")
    browser.evaluate("document.querySelector('[data-refresh]').dataset.every = 100")
    browser.evaluate("document.querySelector('#all-alarms').open = true")
    browser.evaluate("document.querySelector('#all-alarms a').focus()")
    cloud.execute("later", accepted())
    browser.wait_until("document.querySelector('a[href=\"/executions/scones-dev-classification/later\"]')")
    assert browser.evaluate("document.querySelector('.scroll').scrollTop") == 150
    assert browser.evaluate("document.querySelector('#all-alarms').open")
    assert browser.evaluate("document.activeElement.closest('#all-alarms') !== null")
    assert browser.console == []


def test_pictures_that_wait_for_their_outcome_are_loaded_once(
    browser: Browser, session: Session, cloud: Cloud, tmp_path: Path
) -> None:
    (tmp_path / "bike.png").write_bytes(encoded())
    browser.open(f"{session.origin}/classify")
    browser.choose_files("#files", tmp_path / "bike.png")
    browser.wait_until("document.getElementById('summary').innerText === '0 of 1 pictures have their outcome.'")
    browser.evaluate("document.images[0].loaded = 'once'")
    browser.evaluate("import('/static/refresh.js').then(({ refresh }) => refresh(document.getElementById('uploads')))")
    assert browser.evaluate("document.images[0].loaded") == "once"
    (key,) = [key for key in cloud.objects if key.startswith("incoming/")]
    cloud.execute("run", accepted(key) | {"s3_version_id": f"version-of-{key}"})
    browser.wait_until("document.getElementById('summary').innerText === '1 of 1 pictures have their outcome.'")
    assert "accepted bicycle, 0.970" in browser.text()


def test_a_console_that_has_ended_is_not_taken_for_one_where_nothing_happens(chromium: Browser, cloud: Cloud) -> None:
    chromium.start_over()
    with served(SITE) as session:
        chromium.open(session.address)
        chromium.evaluate("document.querySelector('[data-refresh]').dataset.every = 100")
    chromium.wait_until("document.querySelector('[role=alert]').innerText.startsWith('Not up to date: the console')")


def test_an_error_in_a_page_is_printed_where_the_console_was_started(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise LookupError("of a defect")

    monkeypatch.setattr("ops.console.health.runbook", fail)
    with (
        served(SITE) as session,
        contextlib.closing(http.client.HTTPConnection(session.host, timeout=30)) as connection,
    ):
        connection.request("GET", "/runbook", headers={"Cookie": f"{session.cookie}={session.token}"})
        assert connection.getresponse().status == 500
    assert "LookupError: of a defect" in caplog.text
    assert session.token not in caplog.text


def test_no_key_and_no_name_of_a_file_becomes_markup(
    browser: Browser, session: Session, cloud: Cloud, tmp_path: Path
) -> None:
    cloud.execute("run", *(failed(f"incoming/{key}", cause=key) for key in HOSTILE), status="FAILED")
    cloud.events = EVENTS
    name = "<img src=x onerror=document.title=1>.png"
    (tmp_path / name).write_bytes(encoded())
    for path in ("/", "/executions/scones-dev-classification/run"):
        browser.open(session.origin + path)
        assert browser.evaluate("document.images.length") == 0
    browser.open(f"{session.origin}/classify")
    browser.choose_files("#files", tmp_path / name)
    browser.wait_until("document.querySelector('figcaption')")
    assert browser.evaluate("document.querySelector('figcaption strong').textContent") == name
    assert browser.evaluate("document.images.length") == 1
    assert browser.evaluate("document.title").startswith("Classify")
    assert browser.console == []


def test_another_port_of_this_machine_gets_nothing_even_with_the_cookie(
    browser: Browser, session: Session, cloud: Cloud
) -> None:
    cloud.requests.clear()
    with OtherSite() as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        upload, picture = (f"{session.origin}{path}" for path in ("/classify/upload", "/picture?key=incoming/a.png"))
        other.page = f"""<!doctype html><title>A page</title>
            <img src="{picture}"><iframe src="{session.origin}/"></iframe>
            <form method="post" action="{upload}" target="f"></form><iframe name="f"></iframe>
            <script>
              document.forms[0].submit();
              const send = (more) => fetch({json.dumps(upload)}, {{credentials: "include", ...more}}).catch(() => 0);
              Promise.all([send({{method: "POST", mode: "no-cors", body: "a"}}), send({{}})])
                .then(() => {{ document.title = "sent"; }});
            </script>"""
        browser.open(other.url)
        browser.wait_until("document.title === 'sent'")
        assert browser.evaluate("document.images[0].naturalWidth") == 0
        other.shutdown()
    assert cloud.requests == []
    browser.open(f"{session.origin}/")  # the cookie is still there
    assert cloud.requests
