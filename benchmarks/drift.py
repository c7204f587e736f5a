"""Time and memory of the drift monitor over a window of captures, by the million.

    python -m benchmarks.drift

The handler runs as it does in Lambda. S3 is a server in a process of its own on 127.0.0.1, which hands out one file of
captures under many keys: no network of AWS, but every byte goes through boto3 and HTTP.
"""

import argparse
import base64
import contextlib
import json
import multiprocessing
import os
import random
import re
import resource
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import boto3
from botocore.config import Config

from lambda_src import aws, drift_monitor
from lambda_src.drift import Baseline

END = datetime(2026, 1, 2, 6, tzinfo=UTC)
HOURS = 6
PER_FILE = 10_000
IMAGE_BYTES = 2400  # of a 32x32 PNG, on average
BASELINE_KEY = "models/job/baseline.json"
LAMBDA_SECONDS = 900
LAMBDA_MB = 1769


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    records = parser.parse_args().records
    captures = capture_file()
    files = max(1, records // PER_FILE)
    os.environ.update(
        {
            "BUCKET_NAME": "bucket",
            "ENDPOINT_NAME": "scones-dev",
            "CLASSES": '["bicycle", "motorcycle"]',
            "CONFIDENCE_THRESHOLD": "0.9",
            "DRIFT_WINDOW_HOURS": str(HOURS),
            "BASELINE_PARAMETER": "p",
            "METRIC_NAMESPACE": "benchmark",
        }
    )
    with s3_server(captures, files) as url:
        client = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106
            config=Config(s3={"addressing_style": "path"}),
        )
        aws.s3 = lambda: client  # type: ignore[assignment]
        aws.ssm = lambda: SimpleNamespace(  # type: ignore[assignment]
            get_parameter=lambda **_: {"Parameter": {"Value": BASELINE_KEY}}
        )
        before_mb = peak_mb()
        wall, cpu = time.perf_counter(), time.process_time()
        report = drift_monitor.handler({"time": END.isoformat()}, None)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    read_mb = files * len(captures) / 1e6
    assert report["requests"] == files * PER_FILE, report["requests"]  # noqa: S101
    print(f"{report['requests']:,} captures in {files} files, {read_mb:,.0f} MB: verdict {report['verdict']}")
    print(f"{wall:.0f} s ({cpu:.0f} s of CPU), {report['requests'] / wall:,.0f} captures/s, {read_mb / wall:.0f} MB/s")
    print(f"peak memory {peak_mb():.0f} MB, {before_mb:.0f} MB of it before")
    print(f"the function has {LAMBDA_SECONDS} s and {LAMBDA_MB} MB")


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def capture_file() -> bytes:
    """PER_FILE different captures of images of a usual size."""
    chance = random.Random(1)  # noqa: S311 - no secret
    lines = []
    for number in range(PER_FILE):
        confidence = 0.5 + 0.5 * chance.betavariate(8, 1)
        pair = [confidence, 1 - confidence] if number % 2 else [1 - confidence, confidence]
        line = {
            "captureData": {
                "endpointInput": {
                    "observedContentType": "application/x-image",
                    "mode": "INPUT",
                    "data": base64.b64encode(chance.randbytes(IMAGE_BYTES)).decode(),
                    "encoding": "BASE64",
                },
                "endpointOutput": {
                    "observedContentType": "application/json",
                    "mode": "OUTPUT",
                    "data": json.dumps(pair),
                    "encoding": "JSON",
                },
            },
            "eventMetadata": {
                "eventId": f"{chance.getrandbits(128):032x}",
                "inferenceId": f"{chance.getrandbits(256):064x}",
                "inferenceTime": (END - timedelta(hours=1, seconds=number % 3600)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
            "eventVersion": "0",
        }
        lines.append(json.dumps(line))
    return ("\n".join(lines) + "\n").encode()


def baseline() -> Baseline:
    chance = random.Random(2)  # noqa: S311 - no secret
    confidences = [0.5 + 0.5 * chance.betavariate(8, 1) for _ in range(200)]
    answers = [[c, 1 - c] if number % 2 else [1 - c, c] for number, c in enumerate(confidences)]
    return Baseline.of(answers, classes=("bicycle", "motorcycle"), artifact_uri="s3://bucket/model.tar.gz")


@contextlib.contextmanager
def s3_server(captures: bytes, files: int) -> Iterator[str]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(theirs, captures, files), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()


def serve(pipe: "multiprocessing.connection.Connection[int, int]", captures: bytes, files: int) -> None:
    """As much of S3 as the drift monitor needs."""
    hour = f"{END - timedelta(hours=2):%Y/%m/%d/%H}"
    variant = "data-capture/scones-dev/AllTraffic/"
    listing = "".join(
        f"<Contents><Key>{variant}{hour}/{number:06}.jsonl</Key><Size>{len(captures)}</Size></Contents>"
        for number in range(files)
    )
    stored_baseline = baseline().to_json().encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if "list-type" in url.query:
                common = f"<CommonPrefixes><Prefix>{variant}</Prefix></CommonPrefixes>"
                body = common if "delimiter" in parse_qs(url.query) else listing
                self.answer(f"<ListBucketResult><IsTruncated>false</IsTruncated>{body}</ListBucketResult>".encode())
            else:
                body_bytes = stored_baseline if url.path.endswith(BASELINE_KEY) else captures
                start = int(re.sub(r"\D", "", self.headers.get("Range") or "0"))
                self.answer(body_bytes[start:], status=206 if self.headers.get("Range") else 200)

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.answer(b"")

        def answer(self, body: bytes, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pipe.send(server.server_address[1])
    server.serve_forever()


if __name__ == "__main__":
    main()
