"""`data_prep validate` and ValidateDataSet agree, except on problems that only a decoder finds."""

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moto import mock_aws
from PIL import Image

from data_prep.images import decode
from data_prep.validate import validate_dataset
from lambda_src.retraining import validate_data_set
from lambda_src.retraining.errors import InvalidDataSetError
from lambda_src.retraining.validate_data_set import handler
from lambda_src.shared import aws
from lambda_src.shared.image_format import check_image
from tests.unit.lambda_src.retraining.data_set import BUCKET, SETTINGS, DataSet, png
from tests.unit.stand_in import client_for
from tests.unit.stored import create_bucket

PIXELS = np.random.default_rng(5).integers(0, 256, (32, 32, 3), np.uint8)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, retraining_settings: None) -> Iterator[Any]:
    with mock_aws():
        s3 = client_for("s3")
        create_bucket(BUCKET)
        monkeypatch.setattr(aws, "s3", lambda: s3)
        yield s3


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def of_mode(mode: str, kind: str = "PNG") -> bytes:
    return encoded(Image.fromarray(PIXELS).convert(mode), kind)


def transparent() -> bytes:
    image = Image.fromarray(PIXELS).convert("RGBA")
    image.putalpha(0)
    return encoded(image)


FIT = {
    "RGB": of_mode("RGB"),
    "RGBA, as matplotlib writes it": of_mode("RGBA"),
    "RGBA, transparent": transparent(),
    "grey": of_mode("L"),
    "grey with alpha": of_mode("LA"),
    "palette": of_mode("P"),
    "black and white": of_mode("1"),
    "16 bits of grey": encoded(Image.fromarray(PIXELS[:, :, 0].astype(np.uint16) * 257)),
    "JPEG": of_mode("RGB", "JPEG"),
    "grey JPEG": of_mode("L", "JPEG"),
    "CMYK JPEG": of_mode("CMYK", "JPEG"),
}
UNFIT = {
    "empty": b"",
    "text": b"no image",
    "GIF": of_mode("P", "GIF"),
    "truncated": of_mode("RGBA")[:-20],
    "a second time": png(7),
}


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


# What ValidateDataSet says that it leaves out
NEED_A_DECODER = {
    "blank": encoded(Image.new("RGB", (32, 32), (1, 2, 3))),
    "in another encoding": encoded(Image.open(io.BytesIO(png(7))).convert("RGBA")),
    "pixels that do not unpack": b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0))
    + chunk(b"IDAT", b"junk")
    + chunk(b"IEND", b""),
}


def verdicts(bucket: Any, folder: Path, image: bytes) -> tuple[str, str]:
    """The problems that ValidateDataSet and `data_prep validate` find in a data set with this image."""
    data = DataSet.of(train=4, test=2)
    del data.objects["manifest.json"]
    data.objects |= {"train/train_2.png": png(7), "train/train_3.png": image}
    data.store()
    for key, body in data.objects.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(body)
    report = validate_dataset(folder, classes=SETTINGS["classes"])
    in_a_folder = "\n".join(f"{problem.file}: {problem.reason}" for problem in report.problems)
    try:
        answer = handler({"run": "r"}, None)
    except InvalidDataSetError as error:
        return str(error).partition("first are\n")[2], in_a_folder
    assert in_a_folder or answer["data_digest"] == report.data_digest
    return "", in_a_folder


@pytest.mark.parametrize("image", FIT.values(), ids=FIT)
def test_images_that_the_workflow_classifies_can_be_trained_on(bucket: Any, tmp_path: Path, image: bytes) -> None:
    check_image(image, name="what SerializeImageData checks")
    assert verdicts(bucket, tmp_path, image) == ("", "")


@pytest.mark.parametrize("image", UNFIT.values(), ids=UNFIT)
def test_both_refuse_the_same_images_for_the_same_reason(bucket: Any, tmp_path: Path, image: bytes) -> None:
    in_the_cloud, in_a_folder = verdicts(bucket, tmp_path, image)
    assert in_the_cloud == in_a_folder
    assert in_a_folder.startswith("train/train_3.png: ")


@pytest.mark.parametrize("image", NEED_A_DECODER.values(), ids=NEED_A_DECODER)
def test_the_function_documents_what_only_a_decoder_finds(bucket: Any, tmp_path: Path, image: bytes) -> None:
    in_the_cloud, in_a_folder = verdicts(bucket, tmp_path, image)
    assert not in_the_cloud
    assert in_a_folder.startswith("train/train_3.png: ")
    assert "blank images, the same pixels in two encodings, and pixels that do not decompress" in " ".join(
        (validate_data_set.__doc__ or "").split()
    )


def test_alpha_is_dropped_and_not_blended() -> None:
    assert np.array_equal(decode(transparent(), size=32), PIXELS)


def test_sixteen_bits_of_grey_become_eight() -> None:
    assert np.array_equal(decode(FIT["16 bits of grey"], size=32), PIXELS[:, :, :1].repeat(3, axis=2))
