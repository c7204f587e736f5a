"""Extends the emulator's Distributed Map with JSONata, ItemBatcher, ResultWriter, S3 Inventory and IAM.

The emulator's own implementation still runs the children and counts failures. This module reads, selects and batches
the items, and writes the results, according to
https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html.
"""

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError
from ministack.services import stepfunctions

State = dict[str, Any]
# Handled here, and removed for the emulator
_DONE_HERE = ("ItemReader", "ItemSelector", "ItemBatcher", "ResultWriter", "Output", "Assign")


def register(client_of_role: Callable[[str, str], Any]) -> None:
    """Replace the emulator's Distributed Map. Reads and writes S3 with a session of the state machine's role."""
    run_children = stepfunctions._run_distributed_map

    def run(state: State, raw_input: Any, _effective: Any, processor: Any, execution: Any, context: Any) -> Any:
        role_arn = stepfunctions._state_machines[execution["stateMachineArn"]]["roleArn"]
        s3 = client_of_role(role_arn, "s3")

        def evaluated(template: Any, **changes: Any) -> Any:
            return stepfunctions._apply_jsonata_template(template, raw_input, {**context, **changes})

        items: Any = list(
            _read(s3, state["ItemReader"].get("ReaderConfig", {}), evaluated(state["ItemReader"]["Arguments"]))
        )
        if selector := state.get("ItemSelector"):
            items = [
                evaluated(selector, Map={"Item": {"Index": index, "Value": item}}) for index, item in enumerate(items)
            ]
        if batcher := state.get("ItemBatcher"):
            size = batcher["MaxItemsPerBatch"]
            items = [{"Items": items[start : start + size]} for start in range(0, len(items), size)]

        plain = {key: value for key, value in state.items() if key not in _DONE_HERE}
        plain |= {"QueryLanguage": "JSONPath", "ItemsPath": "$"}
        known = set(stepfunctions._map_runs)
        try:
            run_children(plain, items, items, processor, execution, context)
        finally:
            (map_run_arn,) = [
                arn
                for arn, run in stepfunctions._map_runs.items()
                if arn not in known and run["executionArn"] == execution["executionArn"]
            ]
            destination = evaluated(state["ResultWriter"]["Arguments"])
            result = _write(s3, destination, map_run_arn)
        output = stepfunctions._apply_jsonata_output(state, raw_input, context, result=result, default=result)
        return output, stepfunctions._next_or_end(state)

    stepfunctions._run_distributed_map = run


def _read(s3: Any, config: dict[str, str], arguments: dict[str, str]) -> Iterator[Any]:
    """The items of a listing, a CSV or JSONL file, or an inventory."""
    try:
        if "Key" not in arguments:
            for page in s3.get_paginator("list_objects_v2").paginate(**arguments):
                yield from json.loads(json.dumps(page.get("Contents", []), default=str))
            return
        content = s3.get_object(**arguments)["Body"].read()
        if config["InputType"] == "MANIFEST":
            yield from _inventory(s3, arguments["Bucket"], json.loads(content))
        else:
            yield from stepfunctions._parse_reader_items(content.decode(), config)
    except ClientError as error:
        raise stepfunctions._ExecutionError("States.ItemReaderFailed", str(error)) from error


def _inventory(s3: Any, bucket: str, manifest: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Rows of the gzipped CSV files (https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory.html)."""
    columns = [name.strip() for name in manifest["fileSchema"].split(",")]
    for file in manifest["files"]:
        content = gzip.decompress(s3.get_object(Bucket=bucket, Key=file["key"])["Body"].read())
        for row in csv.reader(io.StringIO(content.decode())):
            yield dict(zip(columns, row, strict=True))


def _write(s3: Any, destination: dict[str, str], map_run_arn: str) -> dict[str, Any]:
    """The children's results as ResultWriter writes them: outcomes flattened, one a line; failures as they are."""
    children = [child for child in stepfunctions._executions.values() if child.get("mapRunArn") == map_run_arn]
    lines = {
        "SUCCEEDED": [
            outcome for child in children if child["status"] == "SUCCEEDED" for outcome in json.loads(child["output"])
        ],
        "FAILED": [_description(child) for child in children if child["status"] == "FAILED"],
        "PENDING": [],
    }
    folder = f"{destination['Prefix'].rstrip('/')}/{map_run_arn.rpartition(':')[2]}"
    files: dict[str, list[dict[str, Any]]] = {}
    for status, content in lines.items():
        body = "".join(f"{json.dumps(line)}\n" for line in content).encode()
        files[status] = [{"Key": f"{folder}/{status}_0.jsonl", "Size": len(body)}] if content else []
        if content:
            s3.put_object(Bucket=destination["Bucket"], Key=files[status][0]["Key"], Body=body)
    manifest = {"DestinationBucket": destination["Bucket"], "MapRunArn": map_run_arn, "ResultFiles": files}
    key = f"{folder}/manifest.json"
    s3.put_object(Bucket=destination["Bucket"], Key=key, Body=json.dumps(manifest).encode())
    return {"MapRunArn": map_run_arn, "ResultWriterDetails": {"Bucket": destination["Bucket"], "Key": key}}


def _description(child: dict[str, Any]) -> dict[str, Any]:
    names = ("executionArn", "name", "status", "input", "error", "cause")
    return {f"{name[0].upper()}{name[1:]}": child[name] for name in names if child.get(name) is not None}
