"""BulkSummary: counts the outcomes of a bulk run from what its Distributed Map wrote, in constant memory.

ResultWriter leaves a manifest.json that names its files: SUCCEEDED with one outcome a line, FAILED and PENDING with one
batch a line, as it was handed to the child execution that did not end well.
https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lambda_src import aws, settings
from lambda_src.errors import StorageUnavailableError
from lambda_src.json_reader import parse_json, read_json

EXAMPLES = 20
OUTCOMES = ("ACCEPTED", "REJECTED", "FAILED")


@dataclass
class Summary:
    """What a run came to; the examples are of images that were not accepted."""

    counts: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(OUTCOMES, 0)))
    labels: dict[str, Counter[str]] = field(default_factory=lambda: {outcome: Counter() for outcome in OUTCOMES})
    errors: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)

    def add(self, outcome: dict[str, Any]) -> None:
        name = outcome["outcome"]
        self.counts[name] += 1
        if outcome.get("label"):
            self.labels[name][outcome["label"]] += 1
        if name == "ACCEPTED":
            return
        self.errors[outcome.get("error", "unknown")] += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append({**outcome, "cause": str(outcome.get("cause", ""))[:120]})

    def add_batch(self, execution: dict[str, Any]) -> None:
        """Count every image of a batch whose child execution failed, timed out or was never started."""
        error = execution.get("Error") or f"Batch{str(execution.get('Status', 'Pending')).title().replace('_', '')}"
        for item in parse_json(execution["Input"])["Items"]:
            self.add({**item, "outcome": "FAILED", "error": error, "cause": execution.get("Cause", "")})


def handler(event: dict[str, str], _context: object) -> dict[str, Any]:
    """`{"execution", "started_at"}` in; the manifest's members, without the files of outcomes, out."""
    name = event["execution"]
    prefix = f"manifests/{name}"
    files = result_files(f"{prefix}/")
    summary = summarize(files)
    result = {
        "execution": name,
        "started_at": event["started_at"],
        "counts": dict(summary.counts),
        "labels": {outcome: dict(labels) for outcome, labels in summary.labels.items()},
        "errors": dict(summary.errors),
        "examples": summary.examples,
    }
    bucket = settings.predictions().bucket_name
    uris = {status: [f"s3://{bucket}/{key}" for key in keys] for status, keys in files.items()}
    try:
        aws.s3().put_object(
            Bucket=bucket,
            Key=f"{prefix}.json",
            Body=json.dumps({**result, "outcomes": uris}, ensure_ascii=False, indent=2).encode(),
            ContentType="application/json",
        )
    except (BotoCoreError, ClientError) as error:
        raise StorageUnavailableError(f"could not be stored ({error}): {prefix}.json") from error
    return result


def summarize(files: dict[str, list[str]]) -> Summary:
    """Count what the result files of each status hold."""
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
    """Keys by status, as every manifest.json below the prefix names them; empty if no batch was started."""
    bucket = settings.predictions().bucket_name
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
    bucket = settings.predictions().bucket_name
    try:
        for line in aws.s3().get_object(Bucket=bucket, Key=key)["Body"].iter_lines():
            if line:
                yield parse_json(line)
    except (BotoCoreError, ClientError) as error:
        raise StorageUnavailableError(f"could not be read ({error}): {key}") from error
