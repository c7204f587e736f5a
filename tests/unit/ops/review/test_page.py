"""The Review page, over HTTP requests like a browser's."""

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import pytest_socket
from botocore.exceptions import ClientError
from starlette.testclient import TestClient

from ops import aws
from ops.console.app import create_app
from ops.console.security import Session
from ops.console.site import Site
from ops.review import desk
from ops.review.queue import Outcome
from ops.review.records import Records
from stacks.config import EnvironmentConfig, parse_environment
from stacks.shared.cifar_100 import CLASS_NAMES
from tests.unit.ops.review.conftest import BUCKET, Account, item, outcome_of, pixels, png


class Window:
    """A browser's window on a console of its own, signed in as a person."""

    def __init__(self, config: EnvironmentConfig, person: str) -> None:
        self._session = Session(8765)
        app = create_app(Site(config, BUCKET, "arn:machine", "AWS"), self._session)
        app.state.desk.reviewer = person
        self._client = TestClient(app, base_url=self._session.origin)
        self._client.get(self._session.address)
        self.html = ""
        self.status = 0

    def open(self, address: str = "/review") -> "Window":
        return self._shows(self._client.get(address))

    def press(self, key: str) -> "Window":
        """Do what the button or the link with this key does."""
        link = re.search(rf'<a [^>]*href="([^"]*)" data-key="{key}"', self.html)
        if link:
            return self.open(unescape(link[1]))
        (form,) = [f for f in re.findall(r"<form.*?</form>", self.html, re.DOTALL) if f'data-key="{key}"' in f]
        (button,) = re.findall(rf'<button([^>]*) data-key="{key}"', form)
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form.partition("<button")[0]))
        fields |= dict(re.findall(r'name="(\w+)" value="([^"]*)"', button))
        return self.submit(re.findall(r'action="([^"]*)"', form)[0], **{k: unescape(v) for k, v in fields.items()})

    def submit(self, action: str, **fields: str) -> "Window":
        fields.setdefault("form_token", self._session.form_token)
        return self._shows(self._client.post(action, data=fields, headers={"Origin": self._session.origin}))

    def _shows(self, response: Any) -> "Window":
        self.html, self.status = response.text, response.status_code
        return self

    @property
    def text(self) -> str:
        return " ".join(unescape(re.sub("<[^>]*>", " ", self.html)).split())

    @property
    def picture(self) -> str:
        """The file that is shown, if one is."""
        found = re.search(r'id="picture" src="/picture\?key=([^&"]*)', self.html)
        return found[1].removeprefix("incoming/") if found else ""


@pytest.fixture(autouse=True)
def _no_sockets() -> None:
    # An event loop wakes itself through a pair of them
    pytest_socket.disable_socket(allow_unix_socket=True)


@pytest.fixture(autouse=True)
def _always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "FRESH_SECONDS", 0.0)


@pytest.fixture
def window(account: Account, config: EnvironmentConfig) -> Callable[..., Window]:
    return lambda person="ann": Window(config, person).open()


@pytest.fixture
def queue(account: Account) -> list[Outcome]:
    """Five rejected pictures, 0.png to 4.png, the last one the least sure, and one that was accepted."""
    outcomes = [outcome_of(account.picture(f"{n}.png", n + 1), confidence=0.8 - n / 10) for n in range(5)]
    sure = outcome_of(account.picture("sure.png", 9), name="ACCEPTED", confidence=0.95)
    for number, outcome in enumerate([*outcomes, sure]):
        account.manifest_of(f"e{number}", [item(outcome)], at=outcome.at.replace(minute=number))
    return outcomes


def decisions(account: Account) -> dict[str, str]:
    found = Records(BUCKET).refresh().values()
    return {r.outcome.image.key.removeprefix("incoming/"): r.label or r.decision for r in found}


def test_a_key_labels_and_shows_the_next_picture(
    account: Account, queue: list[Outcome], window: Callable[..., Window]
) -> None:
    ann = window()
    assert ann.picture == "0.png"
    assert "Prediction: bicycle , 0.800, rejected" in ann.text
    assert "5 waiting" in ann.text
    assert ann.press("1").picture == "1.png"
    assert "Your last label: incoming/0.png is bicycle" in ann.text
    assert ann.press("2").press("n").picture == "3.png"
    assert decisions(account) == {"0.png": "bicycle", "1.png": "motorcycle", "2.png": "neither"}


def test_a_skipped_picture_returns_and_nothing_is_written(
    account: Account, queue: list[Outcome], window: Callable[..., Window]
) -> None:
    ann = window()
    seen = [ann.picture, *(ann.press("s").picture for _ in range(4))]
    assert seen == [f"{n}.png" for n in range(5)]
    assert ann.press("s").picture == ""
    assert "No picture waits for a label but those that were skipped" in ann.text
    assert "5 waiting, of which 5 before this one were skipped" in ann.text
    assert decisions(account) == {}
    assert ann.open().press("s").press("1").picture == "2.png", "and a label does not go back to what was skipped"
    assert decisions(account) == {"1.png": "bicycle"}


def test_undo_shows_the_picture_again_and_can_be_repeated(
    account: Account, queue: list[Outcome], window: Callable[..., Window]
) -> None:
    ann = window()
    for key in "12n":
        ann.press(key)
    assert ann.press("u").picture == "2.png"
    assert ann.press("u").picture == "1.png"
    assert decisions(account) == {"0.png": "bicycle", "1.png": "undone", "2.png": "undone"}
    assert ann.press("1").picture == "2.png"
    assert decisions(account)["1.png"] == "bicycle"


@pytest.mark.parametrize(
    ("address", "first"),
    [
        ("/review", "0.png"),
        ("/review?order=least-sure", "4.png"),
        ("/review?order=least-sure&accepted=1", "4.png"),
        ("/review?order=anything&accepted=x&after=nonsense&image=nobody", "0.png"),
    ],
)
def test_the_address_determines_the_first_picture(
    account: Account, queue: list[Outcome], window: Callable[..., Window], address: str, first: str
) -> None:
    assert window().open(address).picture == first


def test_accepted_pictures_come_on_request(queue: list[Outcome], window: Callable[..., Window]) -> None:
    ann = window().open("/review?order=least-sure&accepted=1")
    for _ in range(5):
        ann.press("2")
    assert ann.picture == "sure.png"
    assert "0.950, accepted" in ann.text
    assert window().picture == ""


def test_the_second_reviewer_of_a_picture_gets_a_message_and_continues(
    account: Account, queue: list[Outcome], window: Callable[..., Window]
) -> None:
    ann, bob = window("ann"), window("bob")
    assert ann.picture == bob.picture == "0.png"
    ann.press("1")
    assert bob.press("2").picture == "1.png"
    assert re.search(r"ann labelled it bicycle at \S+ \S+ UTC meanwhile: nothing was changed", bob.text)
    assert decisions(account) == {"0.png": "bicycle"}


def test_two_who_work_through_the_queue_label_each_picture_once(
    account: Account, queue: list[Outcome], window: Callable[..., Window]
) -> None:
    people = [window("ann"), window("bob")]
    turns = 0
    while any(person.picture for person in people):
        for person, key in zip(people, "12", strict=True):
            if person.picture:
                person.press(key)
                turns += 1
        assert turns < 20
    assert len(decisions(account)) == 5
    versions = aws.s3().list_object_versions(Bucket=BUCKET, Prefix="ground-truth/")["Versions"]
    assert len(versions) == 5, "nothing was written twice"


def test_two_who_work_at_the_same_pace_seldom_see_the_same_picture(
    account: Account, window: Callable[..., Window], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "APART", 5)
    pictures = [item(outcome_of(account.picture(f"{n:02}.png", 1))) for n in range(12)]
    account.manifest_of("e", pictures)
    people = [window("ann"), window("bob")]
    conflicts = 0
    while any(person.picture for person in people):
        for person in people:
            if person.picture:
                conflicts += "meanwhile" in person.press("1").text
            elif "go back to them" in person.text:
                person.open()
    assert set(decisions(account).values()) == {"bicycle"}
    assert len(decisions(account)) == 12
    assert conflicts < 12 / 3, "else it is nearly one for each picture"


def test_a_button_that_is_pressed_twice_labels_once(
    account: Account, queue: list[Outcome], window: Callable[..., Window]
) -> None:
    ann = window()
    before = ann.html
    ann.press("1")
    ann.html = before
    assert ann.press("1").picture == "1.png"
    assert "meanwhile" not in ann.text
    assert decisions(account) == {"0.png": "bicycle"}


def test_a_killed_console_continues_where_it_was(
    account: Account, queue: list[Outcome], window: Callable[..., Window]
) -> None:
    ann = window()
    ann.press("1").press("2")
    again = window()
    assert again.picture == "2.png"
    assert "Your last label: incoming/1.png is motorcycle" in again.text
    assert again.press("u").picture == "1.png"


def test_untrusted_text_is_never_markup(account: Account, window: Callable[..., Window]) -> None:
    hostile = '"><script>alert(1)</script>\u202e.png'
    outcome = outcome_of(account.picture(hostile, 1))
    account.manifest_of("e", [item(outcome) | {"label": "<img src=x onerror=alert(1)>"}])
    account.put("manifests/<b>.json", b"{")
    ann = window()
    ann.press("1")
    for html in (ann.html, window("<i>bob</i>").html):
        assert "<script>alert" not in html
        assert "<img src=x" not in html
        assert "<b>" not in html
        assert "\u202e" not in html


def test_an_unknown_class_or_picture_is_refused(
    account: Account, queue: list[Outcome], window: Callable[..., Window]
) -> None:
    ann = window()
    assert ann.submit("/review/label", image=queue[0].id, label="train").status == 400
    assert "train is no class of this environment." in ann.text
    assert ann.submit("/review/label", image="nobody", label="bicycle").status == 409
    assert "not in the queue any more" in ann.text
    assert ann.submit("/review/label", image=queue[0].id, label="bicycle", form_token="").status == 403
    assert decisions(account) == {}


def test_a_hundred_classes_have_a_button_each_and_keys_as_far_as_they_go(
    account: Account, queue: list[Outcome], data_set: Path
) -> None:
    ann = Window(parse_environment("dev", {"classes": list(CLASS_NAMES)}), "ann").open()
    assert len(re.findall(r'<button name="label"', ann.html)) == 101
    keys = re.findall(r'data-key="(.)"', ann.html)
    assert len(keys) == len(set(keys)) == 58 + 3
    assert ann.press("A").picture == "1.png"
    assert list(decisions(account).values()) == [CLASS_NAMES[32]]


@pytest.mark.parametrize(
    ("operation", "shown"),
    [
        ("list_objects_v2", "missing the permission s3:ListBucket on s3://scones-dev-data"),
        ("put_object", "missing the permission s3:PutObject on s3://scones-dev-data/ground-truth/reviews/"),
    ],
)
def test_a_missing_permission_is_named(
    account: Account, queue: list[Outcome], window: Callable[..., Window], monkeypatch: pytest.MonkeyPatch,
    operation: str, shown: str,
) -> None:  # fmt: skip
    ann = window()
    name = "".join(word.title() for word in operation.split("_"))

    def denied(*_: Any, **__: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "Access Denied"}}, name)

    if operation == "list_objects_v2":
        monkeypatch.setattr(aws.s3(), "get_paginator", denied)
        ann.open()
    else:
        monkeypatch.setattr(aws.s3(), operation, denied)
        ann.press("1")
    assert shown in ann.text


def test_a_button_publishes_and_reports_the_result(
    account: Account, queue: list[Outcome], data_set: Path, window: Callable[..., Window]
) -> None:
    for number in range(100, 103):
        account.manifest_of(f"p{number}", [item(outcome_of(account.picture(f"{number}.png", png(pixels(number)))))])
    ann = window()
    for key in "n12n1":
        ann.press(key)
    assert "Labelled, and not in the data set yet: 3. Left out, as they show none of the classes: 2." in ann.text
    ann.submit("/review/publish")
    assert ann.status == 200
    assert "the data set has 3 reviewed pictures" in ann.text
    assert "Left out: 2 reviewed as neither class" in ann.text
    assert "Retraining starts" in ann.text
    assert "not in the data set yet: 0." in ann.text
    assert "nothing is new" in ann.submit("/review/publish").text


def test_a_refused_publication_shows_the_reason(
    account: Account, queue: list[Outcome], window: Callable[..., Window]
) -> None:
    ann = window().submit("/review/publish")
    assert ann.status == 409
    assert "manifest.json does not exist" in ann.text
