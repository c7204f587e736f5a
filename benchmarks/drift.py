"""Time and memory of the drift monitor over a window of captures, by the million.

    python -m benchmarks.drift

The handler runs as it does in Lambda. S3 is a server on this machine that hands out one file of captures under many
keys.
"""

import argparse
import base64
import functools
import json
import os
import random
import resource
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from urllib.parse import SplitResult, parse_qs

from benchmarks._s3_server import s3_server
from lambda_src.monitoring import drift_monitor
from lambda_src.shared import aws
from lambda_src.shared.baseline import Baseline

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
            "RECORD_LOCATION": "data-capture:data-capture/scones-dev/",
            "CLASSES": '["bicycle", "motorcycle"]',
            "CONFIDENCE_THRESHOLD": "0.9",
            "DRIFT_WINDOW_HOURS": str(HOURS),
            "DRIFT_BOUND": "0.25",
            "BASELINE_PARAMETER": "p",
            "METRIC_NAMESPACE": "benchmark",
        }
    )
    with s3_server(functools.partial(respond, captures, files)) as client:
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
    predictions = [[c, 1 - c] if number % 2 else [1 - c, c] for number, c in enumerate(confidences)]
    return Baseline.of(predictions, classes=("bicycle", "motorcycle"), artifact_uri="s3://bucket/model.tar.gz")


def respond(captures: bytes, files: int, url: SplitResult) -> bytes:
    """The listing of the captures, the baseline, or one file of captures, whatever its name."""
    if "list-type" in url.query:
        variant = "data-capture/scones-dev/AllTraffic/"
        hour = f"{END - timedelta(hours=2):%Y/%m/%d/%H}"
        listed = (
            f"<CommonPrefixes><Prefix>{variant}</Prefix></CommonPrefixes>"
            if "delimiter" in parse_qs(url.query)
            else "".join(
                f"<Contents><Key>{variant}{hour}/{number:06}.jsonl</Key><Size>{len(captures)}</Size></Contents>"
                for number in range(files)
            )
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{listed}</ListBucketResult>".encode()
    return baseline().to_json().encode() if url.path.endswith(BASELINE_KEY) else captures


if __name__ == "__main__":
    main()
