"""Seconds, state bytes and history events per image: inline and in bulk, in the local cloud.

    python -m benchmarks.workflow [--sizes 1,10,100,500] [--bulk 1000,10000]

Deploys the dev environment into a local cloud of its own. Also measures ops/counts.json again.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import boto3
import psutil
from rich.console import Console
from rich.table import Table

from local import deployment
from local.cloud import LocalCloud
from local.demonstration import Environment, labelled_images
from ops import counts
from stacks.config import PROJECT_ROOT, load_environment

COUNTED_IMAGES = 40
TIMEOUT_SECONDS = 3600
COLUMNS = ("workflow", "images", "s", "ms/image", "state bytes/image", "events/image", "emulator MB afterwards")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1,10,100,500", help="images of an inline execution")
    parser.add_argument("--bulk", default="1000,10000", help="images of a bulk execution")
    arguments = parser.parse_args()
    inline, bulk = ([int(n) for n in text.split(",") if n] for text in (arguments.sizes, arguments.bulk))
    table = Table(*COLUMNS, box=None, pad_edge=False)
    with deployed() as (cloud, environment, test_keys):
        keys = confident_keys(environment, test_keys)
        for run, sizes in ((run_inline, inline), (run_bulk, bulk)):
            for size in sizes:
                table.add_row(*run(environment, keys, size), f"{megabytes(cloud.emulator.pid):.0f}")
        counts.COUNTS.write_text(f"{json.dumps(measure_counts(environment, keys), indent=2)}\n", encoding="utf-8")
    Console().print(table)


@contextlib.contextmanager
def deployed() -> Iterator[tuple[LocalCloud, Environment, list[str]]]:
    """The dev environment with a model that was trained on synthetic images, IAM enforced."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        dataset = directory / "dataset"
        cloud = LocalCloud.start(directory / "cloud")
        try:
            cloud.use()
            data_prep("sample", str(directory / "sample.tar.gz"), "--train", "60", "--test", "40")
            archive = ["--archive", str(directory / "sample.tar.gz")]
            data_prep("build", "--env", "dev", "--output", str(dataset), *archive)
            assembly = deployment.synthesize(cloud, "dev")
            deployment.bootstrap(cloud)
            deployment.deploy(cloud, assembly, "dev/Data")
            for command in ("upload", "train"):
                data_prep(command, "--env", "dev", "--dataset", str(dataset))
            deployment.deploy(cloud, assembly, "dev/*")
            cloud.enforce_iam()
            environment = Environment.deployed(load_environment("dev"))
            images = labelled_images(dataset, environment.config.classes, at_most=80)
            yield cloud, environment, [image.key for image in images]
        finally:
            LocalCloud.stop_running(directory / "cloud")


def data_prep(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "data_prep", *arguments, "--quiet"], cwd=PROJECT_ROOT, check=True)


def confident_keys(environment: Environment, test_keys: list[str]) -> list[str]:
    """Images with confident predictions, so that every run has the same outcome; also warms the functions up."""
    outcomes = environment.classify(test_keys).manifest["outcomes"]
    return [outcome["s3_key"] for outcome in outcomes if outcome["outcome"] == "ACCEPTED"]


def copies(environment: Environment, keys: list[str], prefix: str, size: int) -> list[str]:
    s3 = boto3.client("s3")
    targets = [f"{prefix}{index:05d}.png" for index in range(size)]

    def copy(pair: tuple[str, str]) -> None:
        s3.copy_object(Bucket=environment.bucket, Key=pair[1], CopySource=f"{environment.bucket}/{pair[0]}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(copy, [(keys[index % len(keys)], target) for index, target in enumerate(targets)]))
    return targets


def run_inline(environment: Environment, keys: list[str], size: int) -> tuple[str, ...]:
    execution = environment.classify(copies(environment, keys, f"test/inline-{size}/", size))
    return row("inline", size, execution.seconds, execution.arn, [])


def run_bulk(environment: Environment, keys: list[str], size: int) -> tuple[str, ...]:
    prefix = f"scheduled/bulk-{size}/"
    copies(environment, keys, prefix, size)
    execution = environment.execute(
        {"s3_prefix": prefix}, state_machine_arn=environment.distributed_map_arn, timeout_seconds=TIMEOUT_SECONDS
    )
    if execution.counts["ACCEPTED"] != size:
        raise SystemExit(f"{execution.counts} of {size} images: {execution.error}")
    states = boto3.client("stepfunctions")
    (run,) = states.list_map_runs(executionArn=execution.arn)["mapRuns"]
    pages = states.get_paginator("list_executions").paginate(mapRunArn=run["mapRunArn"])
    children = [child["executionArn"] for page in pages for child in page["executions"]]
    return row("bulk", size, execution.seconds, execution.arn, children)


def row(name: str, size: int, seconds: float, arn: str, children: list[str]) -> tuple[str, ...]:
    """State bytes are what the largest state of an execution, or of a child, holds."""
    events = [counts.history(execution) for execution in [arn, *children]]
    largest = max(len(json.dumps(event, default=str)) for history in events for event in history)
    in_one = size / max(1, len(children))
    return (
        name,
        f"{size:,}",
        f"{seconds:.1f}",
        f"{1000 * seconds / size:.1f}",
        f"{largest / in_one:,.0f}",
        f"{sum(map(len, events)) / size:.1f}",
    )


def megabytes(pid: int) -> float:
    """Resident memory of a process; the emulator keeps every object and every history in it."""
    size: int = psutil.Process(pid).memory_info().rss
    return size / 1_000_000


def measure_counts(environment: Environment, keys: list[str]) -> dict[str, dict[str, object]]:
    """The executions that ops/counts.json describes."""
    single = environment.classify(keys[:1])
    several = environment.classify(copies(environment, keys, "test/counted/", COUNTED_IMAGES))
    prefix = "scheduled/counted/"
    copies(environment, keys, prefix, COUNTED_IMAGES)
    transform = environment.execute({"s3_prefix": prefix}, state_machine_arn=environment.batch_transform_arn)
    prefix = "scheduled/counted-again/"
    copies(environment, keys, prefix, COUNTED_IMAGES)
    bulk = environment.execute({"s3_prefix": prefix}, state_machine_arn=environment.distributed_map_arn)
    return {
        "inline-1": asdict(counts.measure(single.arn, images=1)),
        "inline": asdict(counts.measure(several.arn, images=COUNTED_IMAGES)),
        "distributed-map": asdict(counts.measure(bulk.arn, images=COUNTED_IMAGES)),
        "batch-transform": asdict(counts.measure(transform.arn, images=COUNTED_IMAGES)),
    }


if __name__ == "__main__":
    main()
