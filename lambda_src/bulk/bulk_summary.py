"""BulkSummary: counts the outcomes of a bulk run from the files of its Distributed Map, in constant memory.

ResultWriter writes a manifest.json that names its files. A SUCCEEDED file has one outcome per line. A FAILED or PENDING
file has one child execution per line, with the batch that was its input.
https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lambda_src.shared import aws, settings
from lambda_src.shared.errors import ManifestExistsError, StorageUnavailableError
from lambda_src.shared.json_reader import parse_json, read_json
from lambda_src.shared.text import shortened

EXAMPLES = 20
# The share of a state's 262,144 bytes, and of a message's, that examples may take: keys in a list may have any length
MAX_EXAMPLE_BYTES = 100_000
# botocore splits a line again with each chunk that it spans: with its own 1,024 bytes, a line of 300 kB 300 times
_CHUNK_BYTES = 16_384
OUTCOMES = ("ACCEPTED", "REJECTED", "WAITING", "FAILED")


@dataclass
class Summary:
    """The counts of a run's outcomes, and examples of images that were not accepted."""

    counts: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(OUTCOMES, 0)))
    labels: dict[str, Counter[str]] = field(default_factory=lambda: {outcome: Counter() for outcome in OUTCOMES})
    errors: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)
    example_bytes: int = 0

    def add(self, outcome: dict[str, Any]) -> None:
        name = outcome["outcome"]
        self.counts[name] += 1
        if outcome.get("label"):
            self.labels[name][outcome["label"]] += 1
        if name == "ACCEPTED":
            return
        self.errors[outcome.get("error", "unknown")] += 1
        if len(self.examples) < EXAMPLES:
            example = {**outcome, "cause": shortened(str(outcome.get("cause", "")), 120)}
            size = len(json.dumps(example))  # JSON with escapes is never shorter than UTF-8
            if self.example_bytes + size <= MAX_EXAMPLE_BYTES:
                self.examples.append(example)
                self.example_bytes += size

    def add_batch(self, execution: dict[str, Any]) -> None:
        """Count every image of a batch whose child execution failed, timed out or was never started."""
        error = execution.get("Error") or f"Batch{str(execution.get('Status', 'Pending')).title().replace('_', '')}"
        for item in parse_json(execution["Input"])["Items"]:
            image = {name: item[name] for name in ("s3_bucket", "s3_key", "s3_version_id") if name in item}
            self.add({**image, "outcome": "FAILED", "error": error, "cause": execution.get("Cause", "")})


def handler(event: dict[str, str], _context: object) -> dict[str, Any]:
    """Takes `{"execution", "started_at", "results"}`; returns the manifest without its list of outcome files.

    results: the prefix of ResultWriter's files. Raises ManifestExistsError or StorageUnavailableError.
    """
    name = event["execution"]
    files = result_files(f"{event['results']}/")
    summary = summarize(files)
    result = {
        "execution": name,
        "started_at": event["started_at"],
        "counts": dict(summary.counts),
        "labels": {outcome: dict(labels) for outcome, labels in summary.labels.items()},
        "errors": dict(summary.errors),
        "examples": summary.examples,
    }
    bucket = settings.bucket_name()
    uris = {status: [f"s3://{bucket}/{key}" for key in keys] for status, keys in files.items()}
    store_manifest(f"manifests/{name}.json", {**result, "outcomes": uris})
    return result


def store_manifest(key: str, manifest: dict[str, Any]) -> None:
    """Write the manifest if it is new. A retry of this step finds the same manifest, which is no error."""
    bucket = settings.bucket_name()
    body = json.dumps(manifest, ensure_ascii=False, indent=2).encode()
    try:
        aws.s3().put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json", IfNoneMatch="*")
    except (BotoCoreError, ClientError) as error:
        if isinstance(error, ClientError) and error.response["Error"]["Code"] == "PreconditionFailed":
            if stored(key) == body:
                return
            raise ManifestExistsError(
                f"{key} is never overwritten, and another execution with this name wrote it: start this one again "
                "under another name"
            ) from error
        raise StorageUnavailableError(f"could not be stored ({error}): {key}") from error


def stored(key: str) -> bytes:
    try:
        return aws.s3().get_object(Bucket=settings.bucket_name(), Key=key)["Body"].read()
    except (BotoCoreError, ClientError) as error:
        raise StorageUnavailableError(f"could not be read ({error}): {key}") from error


def summarize(files: dict[str, list[str]]) -> Summary:
    """Count the outcomes in the result files of each status."""
    summary = Summary()
    for status, keys in files.items():
        for key in keys:
            for line in lines(key):
                if status == "SUCCEEDED":
                    summary.add(line)
                else:
                    summary.add_batch(line)
    return summary


def result_files(prefix: str) -> dict[str, list[str]]:
    """The keys of the result files by status, from every manifest.json below the prefix; empty if no batch started."""
    bucket = settings.bucket_name()
    files: dict[str, list[str]] = {"SUCCEEDED": [], "FAILED": [], "PENDING": []}
    try:
        for page in aws.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for entry in page.get("Contents", []):
                if not entry["Key"].endswith("/manifest.json"):
                    continue
                manifest = read_json(aws.s3().get_object(Bucket=bucket, Key=entry["Key"])["Body"], name=entry["Key"])
                for status, results in manifest["ResultFiles"].items():
                    files[status] += [result["Key"] for result in results]
    except (BotoCoreError, ClientError) as error:
        raise StorageUnavailableError(f"could not be read ({error}): {prefix}") from error
    return files


def lines(key: str) -> Iterator[dict[str, Any]]:
    """The JSON objects of one result file, one at a time."""
    bucket = settings.bucket_name()
    try:
        for line in aws.s3().get_object(Bucket=bucket, Key=key)["Body"].iter_lines(_CHUNK_BYTES):
            if line:
                yield parse_json(line)
    except (BotoCoreError, ClientError) as error:
        raise StorageUnavailableError(f"could not be read ({error}): {key}") from error
