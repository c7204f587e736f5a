"""Time and memory of ValidateDataSet, which reads every image of a data set, beside bare reads of the same images.

    python -m benchmarks.validation

The handler runs as it does in Lambda. S3 is a server on this machine that takes as long as S3 does to its first byte. A
function of 1,769 MB has one virtual CPU, so the seconds of CPU that an image takes are the floor there.
"""

import argparse
import functools
import json
import os
import resource
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import SplitResult

from benchmarks._s3_server import s3_server
from benchmarks.functions import random_png
from lambda_src.retraining import validate_data_set
from lambda_src.shared import aws

BUCKET = "bucket"
CLASSES = ["bicycle", "motorcycle"]
TEST_SHARE = 6  # one image of so many, as in CIFAR-100
S3_MS = 20  # until the first byte of a small object, for a function in the same region
LAMBDA_SECONDS = 900


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    images = parser.parse_args().images
    keys = {split: [f"{number:07}.png" for number in range(count)] for split, count in sizes(images).items()}
    os.environ |= {"BUCKET_NAME": BUCKET, "CLASSES": json.dumps(CLASSES)}
    respond = functools.partial(answer, random_png(32), keys)
    with s3_server(respond, latency_ms=S3_MS, connections=aws.MAX_CONNECTIONS) as s3:
        aws.s3 = lambda: s3  # type: ignore[assignment]
        before_mb = peak_mb()
        wall, cpu = time.perf_counter(), time.process_time()
        result = validate_data_set.handler({"run": "benchmark"}, None)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        grown_mb = peak_mb() - before_mb
        paths = [f"{split}/{name}" for split, names in keys.items() for name in names]
        bare_wall, bare_cpu = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(aws.MAX_CONNECTIONS) as pool:
            for _ in pool.map(lambda key: s3.get_object(Bucket=BUCKET, Key=key)["Body"].read(), paths):
                pass
        bare_wall, bare_cpu = time.perf_counter() - bare_wall, time.process_time() - bare_cpu
    assert result["train"] + result["validation"] == images, result  # noqa: S101
    print(f"{images:,} images of 32x32, {S3_MS} ms to a first byte, {aws.MAX_CONNECTIONS} connections")
    print(f"bare reads      {bare_wall:6.1f} s, {1000 * bare_cpu / images:.2f} ms of CPU an image")
    print(f"ValidateDataSet {wall:6.1f} s, {1000 * cpu / images:.2f} ms of CPU an image, {wall / bare_wall:.2f} of it")
    print(f"memory          {1e6 * grown_mb / images:6.0f} bytes an image, on {before_mb:.0f} MB")
    limit = validate_data_set.MAX_IMAGES
    print(f"{limit:,} images  {limit * wall / images:6.0f} s of the function's {LAMBDA_SECONDS}")


def sizes(images: int) -> dict[str, int]:
    return {"train": images - images // TEST_SHARE, "test": images // TEST_SHARE}


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def answer(png: bytes, keys: dict[str, list[str]], url: SplitResult) -> bytes | None:
    """A list, or an image that differs from all others by a comment."""
    split, _, name = url.path.removeprefix(f"/{BUCKET}/").partition("/")
    if split.endswith("_lst"):
        lines = (f"{number}\t{number % len(CLASSES)}\t{key}\n" for number, key in enumerate(keys[split[:-4]]))
        return "".join(lines).encode()
    if split not in keys:
        return None
    comment = b"tEXt" + f"Comment\0{split}/{name}".encode()
    chunk = struct.pack(">I", len(comment) - 4) + comment + struct.pack(">I", zlib.crc32(comment))
    end = png.rindex(b"IEND") - 4
    return png[:end] + chunk + png[end:]


if __name__ == "__main__":
    main()
