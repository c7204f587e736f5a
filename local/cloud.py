"""The local cloud's two processes: the AWS emulator and the stand-in for SageMaker.

Both run code for their clients. Therefore they listen only on 127.0.0.1, refuse clients without the access key of this
start (local/request_guard.py), and write only where other users cannot read.
"""

import contextlib
import json
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Literal

import psutil

from local import request_guard
from local.clock import SCALE
from local.sagemaker.fault import Fault
from stacks.config import PROJECT_ROOT, EnvironmentConfig, load_environment

DIRECTORY = PROJECT_ROOT / "build" / "local"
ACCOUNT = "000000000000"
REGION = "us-east-1"
# Prefixes of the variables that AWS SDKs, tools and data_prep read
CLIENT_PREFIXES = ("AWS_", "CDK_", "CIFAR_100_", "NO_PROXY", "no_proxy")
NO_PROXY_VARIABLES = ("NO_PROXY", "no_proxy")  # tools differ in the spelling
# The variables that child processes inherit; any other may be a secret that no function should see
INHERITED = {"HOME", "PATH", "TERM", "TZ", "USER", "VIRTUAL_ENV", "LANG", "LANGUAGE", "NO_COLOR", "COLUMNS"}
INHERITED |= {"NODE_COMPILE_CACHE", "NODE_EXTRA_CA_CERTS", "NODE_OPTIONS", "NODE_PATH"}
# so that `data_prep fetch` uses this process's proxy
INHERITED |= {"SSL_CERT_DIR", "SSL_CERT_FILE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"}
INHERITED |= {"RECORD_EXPRESSIONS"}  # names a file: local/expressions.py
INHERITED_PREFIXES = ("LC_", "PYTHON", "JSII_")
START_TIMEOUT_SECONDS = 300  # for a busy machine; if a process ends, the wait ends too
STOP_TIMEOUT_SECONDS = 10
CONSOLE = "-m ops console"  # a part of its command line
_PROCESSES = "processes"
_ARCHIVE = "archive"  # has the path of the archive used last
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open  # 127.0.0.1 must not go through a proxy


class LocalCloudError(Exception):
    """When the local cloud cannot do what was requested; the message has the reason and the log."""


@dataclass(frozen=True)
class Process:
    """A process that this project started."""

    program: str  # a part of its command line
    pid: int
    port: int = 0  # of those that listen
    access_key: str = ""  # which they ask for

    @property
    def url(self) -> str:
        return f"http://{request_guard.ADDRESS}:{self.port}"

    def request(self, path: str, data: bytes | None = None) -> urllib.request.Request:
        """A request of this project's own."""
        headers = request_guard.naming(self.access_key)
        return urllib.request.Request(f"{self.url}{path}", data=data, headers=headers)  # noqa: S310 - our own address

    def is_ours(self) -> bool:
        """Whether the process still runs, and is not a later one with the same id."""
        try:
            process = psutil.Process(self.pid)
            return self.program in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:  # it has ended, or is another user's
            return False

    def stop(self) -> None:
        """End the process and everything it started."""
        if not self.is_ours():
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        while self.is_ours() and time.monotonic() < deadline:
            _reap(self.pid)
            time.sleep(0.05)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        _reap(self.pid)


@dataclass(frozen=True)
class LocalCloud:
    """A running local cloud. Its directory has logs, and state that survives this process."""

    emulator: Process
    sagemaker: Process
    directory: Path

    @classmethod
    def start(cls, directory: Path = DIRECTORY) -> "LocalCloud":
        """Start both processes on free ports, after stopping those of a killed run; raises LocalCloudError."""
        cls.stop_running(directory)
        _make(directory)
        (directory / "tmp").mkdir(exist_ok=True)
        emulator_port, sagemaker_port = _free_ports(2)
        access_key = f"LOCAL{secrets.token_hex(16).upper()}"
        environment = _environment(directory, emulator_port, sagemaker_port, access_key)
        started: list[Process] = []
        try:
            for module, port, arguments, health in (
                ("local.emulator", emulator_port, [], "/_ministack/health"),
                (
                    "local.sagemaker",
                    sagemaker_port,
                    [f"--port={sagemaker_port}", f"--cache={directory / 'models'}"],
                    "/ping",
                ),
            ):
                with (directory / f"{module}.log").open("wb") as log:
                    popen = subprocess.Popen(
                        [sys.executable, "-m", module, *arguments],
                        cwd=PROJECT_ROOT,
                        env=environment,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,  # Ctrl-C reaches only this process, which ends the group
                    )
                started.append(Process(module, popen.pid, port, access_key))
                _record(directory, started[-1])
                _wait_until_healthy(popen, started[-1].request(health), directory / f"{module}.log")
                popen.returncode = 0  # another process may end it, by its id: Popen must not warn
        except BaseException:
            for process in started:
                process.stop()
            raise
        emulator, sagemaker = started
        return cls(emulator, sagemaker, directory)

    @classmethod
    def running(cls, directory: Path = DIRECTORY) -> "LocalCloud":
        """The local cloud that an earlier `up` started; raises LocalCloudError if there is none."""
        if not cls.is_running(directory):
            raise LocalCloudError("no local cloud is running: start one with `python -m local up`")
        emulator, sagemaker = _listening(directory)
        return cls(emulator, sagemaker, directory)

    @classmethod
    def is_running(cls, directory: Path = DIRECTORY) -> bool:
        """Whether there is a local cloud that an earlier `up` started."""
        processes = _listening(directory)
        return len(processes) == 2 and all(process.is_ours() for process in processes)

    @classmethod
    def stop_running(cls, directory: Path = DIRECTORY) -> list[Process]:
        """End the processes recorded in `directory`, newest first; returns those that were running."""
        stopped = [process for process in reversed(_recorded(directory)) if process.is_ours()]
        for process in stopped:
            process.stop()
        for name in ("tmp", _PROCESSES):
            shutil.rmtree(directory / name, ignore_errors=True)
        return stopped

    @staticmethod
    def remember_archive(archive: Path, directory: Path = DIRECTORY) -> None:
        """Use this archive, also after a restart, for every command that names none."""
        if not archive.is_file():
            raise LocalCloudError(f"{archive}: no such file; give the path of an archive in CIFAR-100's format")
        _make(directory)
        (directory / _ARCHIVE).write_text(str(archive.resolve()), encoding="utf-8")

    @staticmethod
    def remembered_archive(directory: Path = DIRECTORY) -> Path | None:
        """The archive used last."""
        try:
            return Path((directory / _ARCHIVE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    @staticmethod
    def stop_commands(directory: Path = DIRECTORY) -> None:
        """End all commands started by `run`, in any thread."""
        for process in _recorded(directory):
            if not process.port and process.program != CONSOLE:
                process.stop()

    def run(
        self,
        command: Sequence[str],
        *,
        program: str,
        log: IO[bytes] | None = None,
        directory: Path = PROJECT_ROOT,
        **environment: str,
    ) -> int:
        """Run a command against this cloud; returns its exit status. The next start ends what survives a killed run."""
        with subprocess.Popen(
            command,
            cwd=directory,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT if log else None,
            start_new_session=True,  # npm's commands start others, and all must end
        ) as popen:
            process = Process(program, popen.pid)
            record = _record(self.directory, process)
            try:
                return popen.wait()
            except BaseException:
                process.stop()
                raise
            finally:
                record.unlink(missing_ok=True)

    def enforce_iam(self) -> None:
        """Make the emulator check every call against the caller's policies."""
        os.kill(self.emulator.pid, signal.SIGUSR1)

    def let_a_minute_pass(self) -> None:
        """Make the metrics of the alarms a minute older than they are."""
        os.kill(self.emulator.pid, signal.SIGUSR2)

    def order_faults(self, endpoint_name: str, *faults: Fault) -> None:
        """Inject faults: each of the next requests to the endpoint gets one instead of the model's response."""
        self._tell_sagemaker(f"/endpoints/{endpoint_name}/faults", [asdict(fault) for fault in faults])

    def withhold_instances(self, reasons: Mapping[str, Literal["quota", "capacity"]]) -> None:
        """Refuse training jobs on instances of these types, as AWS does without a quota or without capacity."""
        self._tell_sagemaker("/withheld", reasons)

    def _tell_sagemaker(self, path: str, what: object) -> None:
        with _open(self.sagemaker.request(path, json.dumps(what).encode()), timeout=5):
            pass

    def endpoint_requests(self, endpoint_name: str) -> Counter[str]:
        """The number of requests that the endpoint has received, by InferenceId, including those that got a fault."""
        with _open(self.sagemaker.request(f"/endpoints/{endpoint_name}/requests"), timeout=5) as response:
            return Counter(json.load(response))

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that make any AWS SDK or tool use this cloud instead of AWS."""
        return _environment(self.directory, self.emulator.port, self.sagemaker.port, self.emulator.access_key)

    def open_console(self, env: str) -> str:
        """Start `python -m ops console`, which ends with this cloud; returns the printed address."""
        log = self.directory / "console.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [sys.executable, "-m", "ops", "console", "--env", env],
                cwd=PROJECT_ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        _record(self.directory, Process(CONSOLE, popen.pid))
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline and popen.poll() is None:
            if address := re.search(r"^http://\S+\n", log.read_text(encoding="utf-8"), flags=re.MULTILINE):
                popen.returncode = 0  # as for the cloud's own processes
                return address[0].strip()
            time.sleep(0.05)
        raise LocalCloudError(f"the console has not started:\n{tail(log)}")

    def use(self) -> None:
        """Point the AWS SDK of this process at this cloud."""
        environment = self.environment
        os.environ.clear()
        os.environ.update(environment)


def _make(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)  # also if it existed before


def _environment(directory: Path, emulator_port: int, sagemaker_port: int, access_key: str) -> dict[str, str]:
    """The variables of a child process: the inherited ones, and those that point at this cloud."""
    emulator, sagemaker = (f"http://{request_guard.ADDRESS}:{port}" for port in (emulator_port, sagemaker_port))
    archive = LocalCloud.remembered_archive(directory)
    return {
        **{
            name: value
            for name, value in os.environ.items()
            if name in INHERITED or name.startswith(INHERITED_PREFIXES)
        },
        # Read by the SDKs; an IP address makes them address S3 buckets by path
        "AWS_ENDPOINT_URL": emulator,
        "AWS_ENDPOINT_URL_SAGEMAKER": sagemaker,
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": sagemaker,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": access_key,  # its signatures are not checked
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        # Otherwise requests for 127.0.0.1 would go to the proxy, too
        **dict.fromkeys(NO_PROXY_VARIABLES, _no_proxy()),
        # Read by cdk, which would send telemetry to AWS, and check npm for a newer version
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "CDK_DISABLE_VERSION_CHECK": "true",
        # Read by data_prep, which would download the official archive or generate synthetic images (data_prep/fetch.py)
        **({"CIFAR_100_ARCHIVE": str(archive)} if archive else {}),
        # Read by the emulator, which leaves the unpacked functions behind when it is killed
        "TMPDIR": str(directory / "tmp"),
        "STATE_DIR": str(directory / "tmp" / "state"),
        "S3_DATA_DIR": str(directory / "tmp" / "s3"),
        "BIND_HOST": request_guard.ADDRESS,
        "IOT_MTLS_ENABLED": "0",  # it would listen on every address
        "GATEWAY_PORT": str(emulator_port),
        "MINISTACK_HOST": request_guard.ADDRESS,
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": REGION,
        "LOG_LEVEL": "WARNING",
        # AWS's default quota; set it to 10 to try what a new account can deploy
        "LAMBDA_ACCOUNT_CONCURRENCY": os.environ.get("LAMBDA_ACCOUNT_CONCURRENCY", "1000"),
        "SFN_WAIT_SCALE": str(SCALE),
        # Read by numpy: requests are concurrent, and threads within each would only compete
        "OPENBLAS_NUM_THREADS": "1",
    }


def _no_proxy() -> str:
    """The hosts without a proxy: this process's own, and this machine."""
    hosts = [host for name in NO_PROXY_VARIABLES for host in os.environ.get(name, "").split(",") if host]
    return ",".join(dict.fromkeys([*hosts, "127.0.0.1", "localhost"]))


def _free_ports(count: int) -> list[int]:
    """A free port of 127.0.0.1, below the range of outgoing connections, which could take it before it is used."""
    ports: set[int] = set()
    while len(ports) < count:
        port = random.randrange(20_000, 32_768)  # noqa: S311 - no secret
        with contextlib.suppress(OSError), socket.create_server((request_guard.ADDRESS, port)):
            ports.add(port)
    return list(ports)


def _wait_until_healthy(popen: "subprocess.Popen[bytes]", health: urllib.request.Request, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if popen.poll() is not None:
            raise LocalCloudError(f"{log.stem} ended with status {popen.returncode}:\n{tail(log)}")
        with contextlib.suppress(OSError), _open(health, timeout=1):
            return
        time.sleep(0.05)
    raise LocalCloudError(f"{log.stem} did not respond within {START_TIMEOUT_SECONDS} s:\n{tail(log)}")


def running_cloud(env: str) -> tuple[LocalCloud, EnvironmentConfig]:
    """The running local cloud, which this process then uses, and the environment; raises LocalCloudError."""
    config, cloud = load_environment(env), LocalCloud.running()
    cloud.use()
    return cloud, config


def tail(log: Path, *, lines: int = 20, after: int = 0) -> str:
    """The end of a log file, ignoring its first bytes if given, for an error message."""
    return "\n".join(log.read_bytes()[after:].decode(errors="replace").splitlines()[-lines:])


def _record(directory: Path, process: Process) -> Path:
    """Record a process in a file of its own, so that several can start concurrently."""
    record = directory / _PROCESSES / f"{time.monotonic_ns():020}.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(asdict(process)))
    return record


def _recorded(directory: Path) -> list[Process]:
    """The recorded processes in the order of their start; skips incomplete records."""
    processes = []
    for record in sorted((directory / _PROCESSES).glob("*.json")):
        with contextlib.suppress(OSError, ValueError, TypeError):
            processes.append(Process(**json.loads(record.read_text())))
    return processes


def _listening(directory: Path) -> list[Process]:
    """The emulator and the stand-in for SageMaker."""
    return [process for process in _recorded(directory) if process.port]


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
