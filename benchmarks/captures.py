"""Records per second and peak memory of reading data capture, beside `json.loads` of the same lines.

    python -m benchmarks.captures

Each line holds a 32x32 PNG of 2.4 kB and two probabilities, 3.6 kB in all, as the endpoint's own captures do. The lines
are made while they are read, so that a million of them (3.6 GB) need neither disk nor memory: what remains is the time
of reading. Every figure comes from a process of its own, whose peak memory is that of nothing else.
"""

import base64
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from lambda_src.monitoring.captures import Capture, ParseErrors, read_captures, split_lines
from lambda_src.shared.baseline import Baseline
from ops.summary import Summary

COUNTS = (10_000, 100_000, 1_000_000)
CLASSES = ("bicycle", "motorcycle")
IMAGE_BYTES = 2400
_START = datetime(2026, 1, 1, tzinfo=UTC)
_LINES_PER_CHUNK = 64  # about the 256 KiB that are read at a time


def main() -> None:
    if len(sys.argv) == 3:
        measure(sys.argv[1], int(sys.argv[2]))
        return
    print(f"{'':22}{'records':>10}{'records/s':>12}{'of json.loads':>15}{'peak memory':>14}")
    for count in COUNTS:
        baseline = 0.0
        for name in READERS:
            ended = subprocess.run(
                [sys.executable, "-m", "benchmarks.captures", name, str(count)],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            speed, megabytes = map(float, ended.stdout.split())
            baseline = baseline or speed
            print(f"{name:22}{count:10,}{speed:12,.0f}{speed / baseline:15.2f}{megabytes:11.0f} MB")


def measure(name: str, count: int) -> None:
    """Print records per second and peak memory in MB of one reader."""
    pool = prepared_lines()
    started = time.process_time()
    for _ in chunks(pool, count):
        pass
    overhead = time.process_time() - started  # of making the lines
    started = time.process_time()
    read = READERS[name](chunks(pool, count))
    seconds = time.process_time() - started - overhead
    if read != count:
        raise SystemExit(f"{name} read {read} of {count} records")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes; bytes on macOS
    print(count / seconds, peak / (2**20 if sys.platform == "darwin" else 2**10))


def by_json(stream: Iterator[bytes]) -> int:
    """The floor: the work of any reader."""
    count = 0
    for line in split_lines(stream):
        json.loads(line)
        count += 1
    return count


def by_reader(stream: Iterator[bytes]) -> int:
    return sum(1 for _ in captures(stream))


def by_report(stream: Iterator[bytes]) -> int:
    rng = random.Random(1)  # noqa: S311 - an example
    predictions = [(1 - p, p) for p in (rng.random() for _ in range(1000))]
    baseline = Baseline.of(predictions, classes=CLASSES, artifact_uri="")
    summary = Summary(classes=CLASSES, threshold=0.9, drift_bound=0.25, baseline=baseline)
    summary.add(captures(stream))
    return summary.total.requests


READERS: dict[str, Callable[[Iterator[bytes]], int]] = {
    "json.loads": by_json,
    "read_captures": by_reader,
    "captures --html": by_report,
}


def captures(stream: Iterator[bytes]) -> Iterator[Capture]:
    return read_captures(split_lines(stream), classes=CLASSES, parse_errors=ParseErrors(), name="benchmark")


def prepared_lines() -> list[bytes]:
    """A thousand lines over a day, which are repeated."""
    rng = random.Random(0)  # noqa: S311 - an example
    lines = []
    for number in range(1000):
        first = rng.random()
        record = {
            "captureData": {
                "endpointInput": {
                    "observedContentType": "application/x-image",
                    "mode": "INPUT",
                    "data": base64.b64encode(os.urandom(IMAGE_BYTES)).decode(),
                    "encoding": "BASE64",
                },
                "endpointOutput": {
                    "observedContentType": "application/json",
                    "mode": "OUTPUT",
                    "data": json.dumps([first, 1 - first]),
                    "encoding": "JSON",
                },
            },
            "eventMetadata": {
                "eventId": f"{number:08}-0000-4000-8000-000000000000",
                "inferenceId": os.urandom(32).hex(),
                "inferenceTime": f"{_START + timedelta(seconds=86 * number):%Y-%m-%dT%H:%M:%SZ}",
            },
            "eventVersion": "0",
        }
        lines.append(json.dumps(record).encode() + b"\n")
    return lines


def chunks(lines: list[bytes], count: int) -> Iterator[bytes]:
    """`count` lines in chunks that end anywhere."""
    rest = b""
    for start in range(0, count, _LINES_PER_CHUNK):
        size = min(_LINES_PER_CHUNK, count - start)
        data = rest + b"".join(lines[(start + offset) % len(lines)] for offset in range(size))
        cut = len(data) - 100 if start + size < count else len(data)
        yield data[:cut]
        rest = data[cut:]


if __name__ == "__main__":
    main()
