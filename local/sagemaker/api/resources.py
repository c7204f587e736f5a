"""Common parts of all resources: names, ARNs, times, look-up and lists."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local.cloud import ACCOUNT, REGION
from local.sagemaker.errors import ApiError, validation_error

Record = dict[str, Any]


class Resources:
    """Keeps resources in memory: the request that created each, and its results."""

    def __init__(self, *, cache: Path, emit: Callable[[str, Record], None] = lambda *_: None) -> None:
        """cache: folder of trained models. emit: called with the type and the detail of each event for EventBridge."""
        self._cache = cache
        self._emit = emit
        self._lock = threading.RLock()

    @staticmethod
    def _summaries(records: dict[str, Record], request: Record, *fields: str) -> list[Record]:
        """A list operation's summaries of the records whose name, the first field, contains `NameContains`."""
        return [
            {field: record[field] for field in (*fields, "CreationTime")}
            for name, record in records.items()
            if request.get("NameContains", "") in name and record["CreationTime"] >= request.get("CreationTimeAfter", 0)
        ]

    def _add(self, records: dict[str, Record], kind: str, name: str, record: Record) -> str:
        arn = self._arn(kind, name)
        if name in records:
            raise validation_error(f'Cannot create already existing {kind} "{arn}".')
        records[name] = {
            **record,
            f"{kind.title().replace('-', '')}Arn": arn,
            "CreationTime": now(),
            "LastModifiedTime": now(),
        }
        return arn

    def _refuse_known_job(self, jobs: dict[str, Record], kind: str, name: str) -> None:
        """Job names stay in use for as long as the account exists; the names of other resources can be reused."""
        if name in jobs:
            raise ApiError(
                "ResourceInUse",
                f"{kind.capitalize()} job names must be unique within an AWS account and region, and a {kind} job with "
                f"this name already exists ({self._arn(f'{kind}-job', name)})",
            )

    def _find(self, records: dict[str, Record], kind: str, name: str) -> Record:
        if name not in records:
            raise validation_error(f'Could not find {kind} "{self._arn(kind, name)}".')
        return records[name]

    def _arn(self, kind: str, name: str) -> str:
        return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"

    @staticmethod
    def _in_background(function: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=function, args=arguments, daemon=True).start()


def now() -> float:
    """Seconds since the epoch, the JSON protocol's format for times."""
    return datetime.now(UTC).timestamp()
