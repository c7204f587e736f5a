"""A training job: writes the channels to files, runs the entry point as a process, and uploads the artifact.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html
"""

import fcntl
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.sagemaker import builtin, container, storage
from local.sagemaker.errors import JobFailedError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CODE = "code"  # the channel whose content the cache depends on
_DOWNLOADS = 8
_REASON_CHARACTERS = 1024  # of the file `failure`, as FailureReason


@dataclass(frozen=True)
class TrainingResult:
    """The results of a finished job."""

    artifact_uri: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class Channel:
    """A channel's objects: path below /opt/ml/input/data, URI and ETag."""

    objects: list[tuple[str, str, str]]

    @classmethod
    def find(cls, s3: "S3Client", name: str, uri: str) -> "Channel":
        """Raises JobFailedError if there are none."""
        etags = storage.etags(s3, uri)
        if not etags:
            raise JobFailedError(f"ClientError: Data download failed: no S3 objects found under {uri}")
        return cls([(f"{name}/{found.removeprefix(uri).lstrip('/')}", found, etags[found]) for found in sorted(etags)])


def run(job: dict[str, Any], s3: "S3Client", *, cache: Path) -> TrainingResult:
    """Run the job of a CreateTrainingJob request; raises JobFailedError.

    A model that the same code trained on the same data is taken from `cache`, after waiting for a concurrent job.
    """
    specification, values = job["AlgorithmSpecification"], job.get("HyperParameters", {})
    channels = {
        channel["ChannelName"]: Channel.find(s3, channel["ChannelName"], channel["DataSource"]["S3DataSource"]["S3Uri"])
        for channel in job["InputDataConfig"]
    }
    if is_script := container.is_scikit_learn(specification["TrainingImage"]):
        if "ContainerEntrypoint" not in specification:
            raise JobFailedError("the local stand-in has no script mode: set ContainerEntrypoint and a channel of code")
        entrypoint, metrics = specification["ContainerEntrypoint"], specification.get("MetricDefinitions", [])
    else:
        builtin.check_channels(set(channels))
        entrypoint, metrics, values = builtin.ENTRYPOINT, builtin.METRICS, builtin.own_hyperparameters(values)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        code = root / "input" / "data" / CODE
        if is_script:
            _download(s3, [channels.pop(CODE)] if CODE in channels else [], root)
        else:
            builtin.copy_code(code)
        (root / "input" / "config").mkdir(parents=True)
        (root / "input" / "config" / "hyperparameters.json").write_text(json.dumps(values), encoding="utf-8")
        done = cache / _key(channels.values(), code, values, entrypoint)
        cache.mkdir(parents=True, exist_ok=True)
        with done.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if done.exists():
                for channel in channels.values():
                    storage.read(s3, channel.objects[0][1])  # the role needs the permission in any case
            else:
                _download(s3, channels.values(), root)
                log = _run_entrypoint(entrypoint, job.get("Environment", {}), root, is_script=is_script)
                _keep(root, log, done)
        artifact = root / "artifact"
        shutil.copytree(done / "model", artifact)
        if not is_script:
            builtin.disguise(artifact)
        uri = f"{job['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{job['TrainingJobName']}/output/model.tar.gz"
        storage.write(s3, uri, packed(artifact))
        return TrainingResult(uri, read_metrics((done / "log").read_text(encoding="utf-8"), metrics))


def read_metrics(log: str, definitions: Iterable[Mapping[str, str]]) -> dict[str, float]:
    """The last value of each metric in the log."""
    found = {definition["Name"]: re.findall(definition["Regex"], log) for definition in definitions}
    return {name: float(values[-1]) for name, values in found.items() if values}


def _key(channels: Iterable[Channel], code: Path, values: Mapping[str, str], entrypoint: Sequence[str]) -> str:
    """Digest of everything that training depends on, without URIs: each local cloud has its own bucket."""
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in code.rglob("*.py")}
    data = sorted((path, etag) for channel in channels for path, _, etag in channel.objects)
    known = json.dumps([data, files, values, list(entrypoint)], sort_keys=True)
    return hashlib.sha256(known.encode()).hexdigest()


def _download(s3: "S3Client", channels: Iterable[Channel], root: Path) -> None:
    """Raises JobFailedError."""

    def download(path: str, uri: str) -> None:
        file = root / "input" / "data" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(storage.read(s3, uri))

    objects = [(path, uri) for channel in channels for path, uri, _ in channel.objects if not path.endswith("/")]
    with ThreadPoolExecutor(_DOWNLOADS) as pool:
        for _ in pool.map(download, *zip(*objects, strict=True)):
            pass


def _run_entrypoint(entrypoint: Sequence[str], variables: Mapping[str, str], root: Path, *, is_script: bool) -> str:
    """The process's output; raises JobFailedError with its failure reason."""
    program, *arguments = (part.replace(container.ROOT, str(root)) for part in entrypoint)
    ended = subprocess.run(
        [sys.executable if program == "python3" else program, *arguments],
        cwd=root,
        env=container.process_environment(variables, root),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ended.returncode == 0:
        return ended.stdout
    sys.stderr.write(ended.stdout)  # the log, which the service does not return
    failure = root / "output" / "failure"
    reason = failure.read_text(encoding="utf-8")[:_REASON_CHARACTERS] if failure.exists() else ""
    kind = "ClientError" if reason and not is_script else "AlgorithmError"
    raise JobFailedError(f"{kind}: {reason}, exit code: {ended.returncode}")


def _keep(root: Path, log: str, done: Path) -> None:
    """Move the model and the log into the cache atomically."""
    unfinished = done.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    (unfinished / "log").write_text(log, encoding="utf-8")
    shutil.copytree(root / "model", unfinished / "model")
    unfinished.rename(done)


def packed(folder: Path) -> bytes:
    """The folder as the model.tar.gz of a job."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path in sorted(folder.rglob("*")):
            archive.add(path, path.relative_to(folder), recursive=False)
    return buffer.getvalue()
