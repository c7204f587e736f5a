"""Pictures that are dropped onto the page: uploads, outcomes, and the images that the browser receives."""

import io
import re
import struct
import zlib
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

from lambda_src.classification.serialize_image_data import MAX_IMAGE_BYTES
from tests.unit.ops.console.cloud import BUCKET, Cloud, accepted, rejected
from tests.unit.ops.console.conftest import Browser


def encoded(kind: str = "PNG", size: tuple[int, int] = (8, 4), **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "#d55e00").save(buffer, kind, **options)
    return buffer.getvalue()


def drop(browser: Browser, name: str, data: bytes) -> Any:
    return browser.post("/classify/upload", content=data, headers={"X-File-Name": quote(name)})


def stored(cloud: Cloud) -> dict[str, bytes]:
    return {key: data for key, data in cloud.objects.items() if key.startswith("incoming/")}


def caption(html: str) -> str:
    """What the first picture's caption says."""
    (text, *_) = re.findall(r"<figcaption>(.*?)</figcaption>", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub("<[^>]*>", " ", text)).split())


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_dropped_picture_is_uploaded_unchanged_under_a_unique_name(browser: Browser, cloud: Cloud, kind: str) -> None:
    data = encoded(kind)
    for _ in range(2):
        assert "waiting for the workflow" in caption(drop(browser, "my bike.png", data).text)
    keys = list(stored(cloud))
    assert len(keys) == 2
    assert all(re.fullmatch(r"incoming/my bike-[0-9a-f]{8}\.png", key) for key in keys)
    assert list(stored(cloud).values()) == [data, data]


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (accepted(), "bike.png accepted bicycle, 0.970 Execution of bike.png"),
        (rejected(), "bike.png rejected bicycle, 0.610 LowConfidenceError: 0.61 is under 0.93 Execution of bike.png"),
    ],
)
def test_the_outcome_of_this_very_version_appears(
    browser: Browser, cloud: Cloud, outcome: dict[str, Any], text: str
) -> None:
    drop(browser, "bike.png", encoded())
    (key,) = stored(cloud)
    cloud.execute("earlier", {**outcome, "s3_key": key, "s3_version_id": "another"})
    assert "waiting" in caption(browser.get("/classify/uploads").text)
    cloud.execute("run", {**outcome, "s3_key": key, "s3_version_id": f"version-of-{key}"})
    html = browser.get("/classify/uploads").text
    assert caption(html) == text
    assert "data-pending" not in html
    assert 'href="/executions/scones-dev-classification/run"' in html
    requests = len(cloud.requests)
    browser.get("/classify")
    assert len(cloud.requests) == requests  # there is nothing more to ask for


def test_a_picture_that_waits_for_the_endpoint_gets_its_outcome_when_it_is_resumed(
    browser: Browser, cloud: Cloud
) -> None:
    drop(browser, "bike.png", encoded())
    (key,) = stored(cloud)
    image = {"s3_key": key, "s3_version_id": f"version-of-{key}"}
    waits = {"outcome": "WAITING", "error": "WaitingForEndpointError", "cause": "the endpoint is paused"}
    cloud.execute("paused", {**waits, **image}, ago=timedelta(minutes=9))
    html = browser.get("/classify/uploads").text
    assert "waiting WaitingForEndpointError: the endpoint is paused" in caption(html)
    assert "data-pending" in html
    cloud.execute("resumed", {**accepted(), **image}, ago=timedelta(minutes=1))
    html = browser.get("/classify/uploads").text
    assert "accepted bicycle, 0.970" in caption(html)
    assert "data-pending" not in html


def bomb() -> bytes:
    """A small PNG with a comment of 10 MB."""
    comment = b"Comment\0\0" + zlib.compress(bytes(10_000_000))
    chunk = struct.pack(">I", len(comment)) + b"zTXt" + comment + struct.pack(">I", zlib.crc32(b"zTXt" + comment))
    image = encoded()
    return image[:33] + chunk + image[33:]  # after the header


REFUSED = {
    "text": (b"This is not a picture.\n", "CorruptImageError: neither PNG nor JPEG"),
    "nothing": (b"", "CorruptImageError: neither PNG nor JPEG, but empty"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "neither PNG nor JPEG"),
    "gif": (encoded("GIF"), "neither PNG nor JPEG"),
    "torn": (encoded()[:-9], "truncated PNG"),
    "many pixels": (encoded(size=(20_000, 1)), "ImageTooLargeError: 20000x1 pixels"),
    "many bytes in a comment": (bomb(), "CorruptImageError: cannot be decoded (Decompressed data too large"),
    "many bytes": (encoded() + bytes(MAX_IMAGE_BYTES), "ImageTooLargeError: 190,"),
}


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED)
def test_pictures_that_the_workflow_would_refuse_are_refused_with_the_reason_and_not_stored(
    browser: Browser, cloud: Cloud, data: bytes, reason: str
) -> None:
    text = caption(drop(browser, "bike.png", data).text)
    assert text.startswith("bike.png refused")
    assert reason in text
    assert not stored(cloud)


def test_a_missing_permission_to_upload_is_named(browser: Browser, cloud: Cloud) -> None:
    cloud.refuse("s3:PutObject")
    text = caption(drop(browser, "bike.png", encoded()).text)
    assert f"missing the permission s3:PutObject on s3://{BUCKET}/incoming/" in text


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("../../models/x.tar.gz", r"incoming/x\.tar-\w{8}\.gz"),
        ("", r"incoming/picture-\w{8}"),
        ("<img src=x onerror=alert(1)>.png", r"incoming/<img src=x onerror=alert\(1\)>-\w{8}\.png"),
        ("\u00fc" * 200 + ".png", "incoming/\u00fc{98}-\\w{8}\\.png"),
    ],
)
def test_a_files_name_leads_nowhere_else_and_is_text(browser: Browser, cloud: Cloud, name: str, key: str) -> None:
    html = drop(browser, name, encoded()).text
    (found,) = stored(cloud)
    assert re.fullmatch(key, found)
    assert len(re.findall("<img", html)) == 1
    (source,) = re.findall(r'<img src="([^"]*)"', html)
    assert browser.get(unescape(source)).status_code == 200


def test_the_browser_sees_pixels_and_nothing_else_of_a_picture(browser: Browser, cloud: Cloud) -> None:
    payload = b"<script>alert(1)</script>"
    cloud.objects["incoming/a.jpg"] = encoded("JPEG", comment=payload) + payload
    response = browser.get("/picture", params={"key": "incoming/a.jpg"})
    assert response.headers["Content-Type"] == "image/png"
    assert payload not in response.content
    with Image.open(io.BytesIO(response.content)) as shown:
        assert (shown.format, shown.size, shown.info) == ("PNG", (8, 4), {})


def test_a_large_picture_is_shown_smaller(browser: Browser, cloud: Cloud) -> None:
    cloud.objects["incoming/a.png"] = encoded(size=(2000, 1000))
    response = browser.get("/picture", params={"key": "incoming/a.png", "version": "v"})
    with Image.open(io.BytesIO(response.content)) as shown:
        assert shown.size == (640, 320)
    assert cloud.requests[-1][1]["VersionId"] == "v"


@pytest.mark.parametrize(("data", "_reason"), REFUSED.values(), ids=REFUSED)
def test_a_picture_that_the_workflow_would_refuse_is_not_shown(
    browser: Browser, cloud: Cloud, data: bytes, _reason: str
) -> None:
    cloud.objects["incoming/a.png"] = data
    response = browser.get("/picture", params={"key": "incoming/a.png"})
    assert (response.status_code, response.headers["Content-Type"]) == (415, "text/plain; charset=utf-8")


@pytest.mark.parametrize(
    "key", ["", "models/scones-dev-1/output/model.tar.gz", "manifests/a.json", "/incoming/a.png", "../incoming/a.png"]
)
def test_only_pictures_are_read_from_the_bucket(browser: Browser, cloud: Cloud, key: str) -> None:
    cloud.objects[key or "empty"] = encoded()
    assert browser.get("/picture", params={"key": key}).status_code == 404
    assert not cloud.requests


def test_a_missing_or_denied_picture_is_reported(browser: Browser, cloud: Cloud) -> None:
    assert browser.get("/picture", params={"key": "incoming/none.png"}).status_code == 404
    cloud.refuse("s3:GetObject")
    response = browser.get("/picture", params={"key": "incoming/none.png"})
    assert response.status_code == 403
    assert "s3:GetObject on s3://" in response.text
