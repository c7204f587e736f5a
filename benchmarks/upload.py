"""Files per second of `data_prep upload`, beside one `upload_file` after another, against the same server.

    python -m benchmarks.upload

The server is the local cloud's emulator, which is hardly any distance away; the second pair of figures adds the time
that a request takes from a desk to an AWS region.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import boto3

from data_prep import aws
from data_prep.dataset import FORMAT_VERSION, IMAGES, LISTS, ArchiveInfo, Manifest, Split, write_list
from data_prep.upload import upload_dataset
from lambda_src.retraining.lst_file import ListLine
from local.cloud import LocalCloud

COUNTS = {"train": 1000, "test": 200}  # as the bicycles and motorcycles of CIFAR-100
IMAGE_BYTES = 2400  # of a 32x32 PNG, on average
LATENCIES_MS = (0, 25)


def main() -> None:
    with emulator(), tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        make_dataset(folder)
        files = [file for file in folder.rglob("*") if file.is_file()]
        print(f"{len(files)} files of about {IMAGE_BYTES} bytes, {aws.MAX_CONNECTIONS} requests at a time")
        for latency_ms in LATENCIES_MS:
            one_by_one, parallel = f"one-{latency_ms}", f"parallel-{latency_ms}"
            for bucket in (one_by_one, parallel):
                aws.s3().create_bucket(Bucket=bucket)
            client = boto3.client("s3")
            for each in (client, aws.s3()):
                each.meta.events.register("before-send.s3", lambda **_: time.sleep(latency_ms / 1000))  # noqa: B023
            start = time.perf_counter()
            for file in files:
                client.upload_file(str(file), one_by_one, str(file.relative_to(folder)))
            baseline = time.perf_counter() - start
            start = time.perf_counter()
            upload_dataset(folder, parallel)
            ours = time.perf_counter() - start
            start = time.perf_counter()
            upload_dataset(folder, parallel)
            again = time.perf_counter() - start
            aws.s3.cache_clear()  # and with it the added time
            print(
                f"{latency_ms:2} ms a request: upload_file {len(files) / baseline:6.0f} files/s, "
                f"upload {len(files) / ours:6.0f} files/s with verification, {baseline / ours:.1f} times as fast; "
                f"nothing changed: {again:.2f} s"
            )


def make_dataset(folder: Path) -> None:
    """A data set of random bytes, because an upload does not read images."""
    for split, count in COUNTS.items():
        (folder / IMAGES[split]).mkdir()
        lines = [ListLine(index, 0, f"{index:05}.png") for index in range(count)]
        for line in lines:
            (folder / IMAGES[split] / line.path).write_bytes(os.urandom(IMAGE_BYTES))
        write_list(folder / LISTS[split], lines)
    Manifest(
        format_version=FORMAT_VERSION,
        classes=("a", "b"),
        archive=ArchiveInfo(sha256="", source="benchmark", is_synthetic=True),
        splits={split: Split(counts={"a": count}, total=count, rejected=()) for split, count in COUNTS.items()},
        data_digest="",
        parameters={},
    ).save(folder)


@contextlib.contextmanager
def emulator() -> Iterator[None]:
    """A separate local cloud, with this process's AWS clients pointed at it."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            LocalCloud.start(Path(folder)).use()
            yield
        finally:
            LocalCloud.stop_running(Path(folder))


if __name__ == "__main__":
    main()
