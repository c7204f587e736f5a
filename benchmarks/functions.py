"""The functions: cold start compared with bare boto3, handler time without AWS, size of the package.

python -m benchmarks.functions
"""

import base64
import io
import os
import statistics
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from stacks.config import PROJECT_ROOT

RUNS = 15
SIDES = (32, 64, 128, 240)  # the last one has the largest size that the workflow accepts
SETTINGS = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "ENDPOINT_NAME": "none",
    "ENDPOINT_KIND": "realtime",
    "CLASSES": '["bicycle", "motorcycle"]',
    "CONFIDENCE_THRESHOLD": "0.9",
    "BUCKET_NAME": "none",
    "METRIC_NAMESPACE": "none",
}
# The service and the client that each function needs
CLIENTS = {
    "classification.serialize_image_data": ("s3", "aws.s3()"),
    "classification.classifier": ("sagemaker-runtime", "aws.sagemaker_runtime()"),
    "classification.filter_confidence": ("s3", "aws.s3()"),
    "bulk.find_predictions": ("s3", "aws.s3()"),
    "bulk.read_transform_output": ("s3", "aws.s3()"),
    "bulk.bulk_summary": ("s3", "aws.s3()"),
}


def main() -> None:
    os.environ.update(SETTINGS)
    table = Table("function", "cold ms", "boto3.client ms", "ratio", box=None, pad_edge=False)
    for name, ours, bare, ratio in cold_starts():
        table.add_row(name, f"{ours:.0f}", f"{bare:.0f}", f"{ratio:.2f}")
    console = Console()
    console.print(table, "")
    table = Table("handler, without AWS", *(f"{side}x{side} ms" for side in SIDES), "us/kB", box=None, pad_edge=False)
    for name, times, slope in warm_handlers():
        table.add_row(name, *(f"{1000 * seconds:.3f}" for seconds in times), f"{slope:.1f}")
    sizes = ", ".join(
        f"{name} {package_bytes(name) / 1000:.1f} kB" for name in ("classification", "bulk", "retraining")
    )
    console.print(table, f"\npackage of a function, zipped: {sizes}")


def cold_starts() -> list[tuple[str, float, float, float]]:
    """Import and first client, in milliseconds, alternating with a bare client of the same service."""
    rows = []
    for name, (service, client) in CLIENTS.items():
        bare = f"import boto3; boto3.client({service!r})"
        ours = f"import lambda_src.{name}; from lambda_src.shared import aws; {client}"
        pairs = [(seconds_of(ours), seconds_of(bare)) for _ in range(RUNS)]
        fastest = [1000 * min(pair[side] for pair in pairs) for side in (0, 1)]
        rows.append((name, fastest[0], fastest[1], fastest[0] / fastest[1]))
    return rows


def seconds_of(code: str) -> float:
    """Milliseconds of a statement in a new interpreter, without the interpreter's own start."""
    timed = f"import time; start = time.perf_counter(); {code}; print(time.perf_counter() - start)"
    result = subprocess.run(
        [sys.executable, "-c", timed], cwd=PROJECT_ROOT, env=os.environ, capture_output=True, text=True, check=True
    )
    return float(result.stdout)


def warm_handlers() -> list[tuple[str, list[float], float]]:
    """Seconds of each handler if AWS responds immediately, by the image's side; and microseconds per kB of image."""
    # After the settings
    from lambda_src.classification import classifier, filter_confidence, serialize_image_data  # noqa: PLC0415
    from lambda_src.shared import aws  # noqa: PLC0415

    sys.stdout.flush()
    rows = []
    images = [random_png(side) for side in SIDES]
    for name in ("SerializeImageData", "Classifier", "FilterConfidence"):
        times = []
        for image in images:
            setattr(aws, "s3", lambda image=image: FakeS3(image))  # noqa: B010 - mypy refuses the assignment
            setattr(aws, "sagemaker_runtime", FakeRuntime)  # noqa: B010
            item: dict[str, Any] = {"image_data": "", "s3_bucket": "b", "s3_key": "test/a.png"}
            seen = {**item, "image_data": base64.b64encode(image).decode(), "s3_version_id": "v"}
            sure = {**seen, "image_data": "", "label": "bicycle", "confidence": 0.97, "inferences": [0.97, 0.03]}
            call = {
                "SerializeImageData": lambda item=item: serialize_image_data.handler(item, None),
                "Classifier": lambda seen=seen: classifier.handler(seen, None),
                "FilterConfidence": lambda sure=sure: filter_confidence.handler(sure, None),
            }[name]
            times.append(median_seconds(call))
        size = (len(images[-1]) - len(images[0])) / 1000
        rows.append((name, times, 1e6 * (times[-1] - times[0]) / size))
    return rows


def median_seconds(call: Callable[[], object], runs: int = 400) -> float:
    """The median duration of a call. Discards its output, which goes to Lambda's log on AWS."""
    out, sys.stdout = sys.stdout, io.StringIO()
    try:
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    finally:
        sys.stdout = out
    return statistics.median(times)


class FakeS3:
    """Responds immediately, with an image."""

    def __init__(self, image: bytes) -> None:
        self._image = image

    def get_object(self, **_: object) -> dict[str, Any]:
        body = io.BytesIO(self._image)
        modified = datetime.now(UTC)
        return {
            "ContentLength": len(self._image),
            "Body": body,
            "VersionId": "v",
            "ETag": "e",
            "LastModified": modified,
        }

    def put_object(self, **_: object) -> dict[str, Any]:
        return {}


class FakeRuntime:
    """Responds immediately, with probabilities."""

    def invoke_endpoint(self, **_: object) -> dict[str, Any]:
        return {"Body": io.BytesIO(b"[0.97, 0.03]")}


def random_png(side: int) -> bytes:
    """A PNG of noise, which no compression makes smaller."""
    rows = b"".join(b"\0" + os.urandom(3 * side) for _ in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def package_bytes(capability: str) -> int:
    """The package of a function of this capability, as stacks/shared/function.py builds it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder in (capability, "shared"):
            for path in sorted((PROJECT_ROOT / "lambda_src" / folder).rglob("*.py")):
                archive.write(path, path.relative_to(PROJECT_ROOT))
    return len(buffer.getvalue())


if __name__ == "__main__":
    main()
