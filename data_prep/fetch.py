"""Downloads the CIFAR-100 archive once, and verifies it; or generates synthetic data on request."""

import hashlib
import os
import ssl
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import typer
import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NewConnectionError,
    ProxyError,
)

from data_prep.errors import DataPrepError, DownloadError
from data_prep.files import CHUNK, only_one
from data_prep.options import ArchivePath, AsJson, EnvironmentName, Quiet, Synthetic
from data_prep.progress import Progress, progress_bars, silent
from data_prep.sample import synthetic_archive
from data_prep.target import is_local
from data_prep.terminal import note, show
from stacks.config import PROJECT_ROOT, EnvironmentConfig, load_environment

# The archive to use without `--archive`; the local cloud sets it to the archive that it was given
ARCHIVE_VARIABLE = "CIFAR_100_ARCHIVE"
DEFAULT_CACHE = PROJECT_ROOT / "data" / "cache"
TIMEOUT = urllib3.Timeout(connect=5, read=30)
# How often an interrupted download is resumed, with pauses of 1, 2, 4 ... seconds
ATTEMPTS = 5
_UNREACHABLE = (NewConnectionError, ConnectTimeoutError, ProxyError)


@dataclass(frozen=True)
class RemoteArchive:
    """A file to download, with its length and checksums."""

    url: str
    length: int
    md5: str
    sha256: str


# Length and md5: https://www.cs.toronto.edu/~kriz/cifar.html; sha256: as in keras.datasets.cifar100
CIFAR_100 = RemoteArchive(
    url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    length=169_001_437,
    md5="eb9058c3a382ffc7106e4002c42a8d85",
    sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
)


def fetch(
    *,
    env: EnvironmentName = "dev",
    archive: ArchivePath = None,
    synthetic: Synthetic = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Download and verify CIFAR-100, or generate an archive in its format."""
    path = archive_for(load_environment(env), archive, synthetic=synthetic, quiet=quiet)
    digest = file_sha256(path)
    show({"archive": str(path), "sha256": digest}, f"{path}\nsha256 {digest}", as_json=as_json)


def archive_for(config: EnvironmentConfig, archive: Path | None, *, synthetic: bool, quiet: bool) -> Path:
    """The requested archive; by default that of the environment variable, or the official one, or synthetic data."""
    archive = archive or (None if synthetic else named_archive())
    if archive is None:
        with progress_bars(quiet=quiet) as progress:
            return fetch_archive(classes=config.classes, synthetic=synthetic, say=note, progress=progress)
    if synthetic:
        raise typer.BadParameter("cannot be combined with --archive", param_hint="--synthetic")
    if not archive.is_file():
        raise DataPrepError(f"{archive}: no such file; give the path of an archive in CIFAR-100's format")
    digest = file_sha256(archive)
    if digest != CIFAR_100.sha256:
        note(f"Warning: {archive} is not the official archive; its sha256 is {digest}")
    return archive


def named_archive() -> Path | None:
    """The archive that the environment variable names, if it is set; raises DownloadError if it does not exist."""
    name = os.environ.get(ARCHIVE_VARIABLE)
    if name and not Path(name).is_file():
        raise DownloadError(
            f"{name}, the archive that {ARCHIVE_VARIABLE} names, does not exist: give another with `--archive PATH` "
            "(make: ARCHIVE=PATH)"
        )
    return Path(name) if name else None


class HostUnreachableError(DownloadError):
    """When the archive's host cannot be reached."""


def fetch_archive(
    remote: RemoteArchive = CIFAR_100,
    *,
    classes: tuple[str, ...],
    cache: Path = DEFAULT_CACHE,
    synthetic: bool = False,
    say: Callable[[str], None],
    progress: Progress = silent,
) -> Path:
    """The path of the verified archive in `cache`, which is downloaded unless it exists.

    synthetic: generate an archive of synthetic images of `classes` instead. In the local cloud this also happens if the
    host cannot be reached; `say` reports it. Raises DownloadError.
    """
    if synthetic:
        return synthetic_archive(cache, classes, progress)
    try:
        return download(remote, cache, progress)
    except HostUnreachableError as error:
        if not is_local():  # an environment on AWS must not train on synthetic images unless asked to
            raise DownloadError(
                f"{error}, which has CIFAR-100: give an archive in its format with `--archive PATH` "
                "(make: ARCHIVE=PATH), or train on synthetic images with `--synthetic` (make: SYNTHETIC=1)"
            ) from None
        say(f"{error}; using synthetic images instead of CIFAR-100, because this is the local cloud")
        return synthetic_archive(cache, classes, progress)


def download(remote: RemoteArchive, cache: Path, progress: Progress = silent) -> Path:
    """The path of the verified file in `cache`. An interrupted download resumes where it stopped."""
    if urlsplit(remote.url).scheme != "https":
        raise DownloadError(f"{remote.url}: only https is used")
    target = cache / remote.url.rpartition("/")[2]
    part = target.with_name(f"{target.name}.part")
    with only_one(target):
        if target.is_file() and not _problem(target, remote):
            return target
        had_part = part.exists()
        _complete(remote, part, progress)
        problem = _problem(part, remote)
        if problem and had_part:  # the first part may be from another file
            part.unlink()
            _complete(remote, part, progress)
            problem = _problem(part, remote)
        if problem:
            part.unlink()
            raise DownloadError(f"{remote.url}: {problem}; the host or a proxy sends something else than the archive")
        part.replace(target)
        return target


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _problem(path: Path, remote: RemoteArchive) -> str | None:
    """How the file differs from the expected one; None if it does not."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            md5.update(chunk)
            sha256.update(chunk)
    length = path.stat().st_size
    for name, found, expected in (
        ("length", length, remote.length),
        ("md5", md5.hexdigest(), remote.md5),
        ("sha256", sha256.hexdigest(), remote.sha256),
    ):
        if found != expected:
            return f"{name} is {found} instead of {expected}"
    return None


def _complete(remote: RemoteArchive, part: Path, progress: Progress) -> None:
    """Download the rest of `part`. Resumes after a broken connection, in at most ATTEMPTS attempts."""
    with _pool(remote.url) as pool:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                _request_rest(pool, remote, part, progress)
            except HTTPError as error:
                if attempt == ATTEMPTS:
                    have = part.stat().st_size if part.exists() else 0
                    raise DownloadError(
                        f"{remote.url}: interrupted at {have:,} of {remote.length:,} bytes ({error}); "
                        "run the command again to resume there"
                    ) from None
                time.sleep(2 ** (attempt - 1))
            else:
                return


def _pool(url: str) -> urllib3.PoolManager:
    # Only the start of a request is retried here; _complete resumes a body that is interrupted
    retries = urllib3.Retry(connect=1, read=1, status=3, backoff_factor=1, status_forcelist=(429, 502, 503))
    context = ssl.create_default_context()
    proxy = urllib.request.getproxies().get("https")
    if proxy and not urllib.request.proxy_bypass(urlsplit(url).hostname or ""):
        return urllib3.ProxyManager(proxy, retries=retries, timeout=TIMEOUT, ssl_context=context)
    return urllib3.PoolManager(retries=retries, timeout=TIMEOUT, ssl_context=context)


def _request_rest(pool: urllib3.PoolManager, remote: RemoteArchive, part: Path, progress: Progress) -> None:
    have = part.stat().st_size if part.exists() else 0
    if have > remote.length:
        part.unlink()
        have = 0
    if have == remote.length:
        return
    try:
        response = pool.request(
            "GET",
            remote.url,
            headers={"Range": f"bytes={have}-"} if have else {},
            preload_content=False,
            redirect=False,
            decode_content=False,
        )
    except MaxRetryError as error:
        if isinstance(error.reason, _UNREACHABLE):
            raise HostUnreachableError(f"{urlsplit(remote.url).hostname} cannot be reached") from None
        raise DownloadError(f"{remote.url}: {error.reason}") from None
    with response:
        if response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            mode = "ab"
        elif response.status == 200:
            mode, have = "wb", 0  # the server does not resume
        else:
            raise DownloadError(f"{remote.url}: the host answered {response.status} {response.reason or ''}".rstrip())
        with part.open(mode) as file:
            for chunk in response.stream(CHUNK):
                have += len(chunk)
                if have > remote.length:
                    raise DownloadError(f"{remote.url}: sends more than the archive's {remote.length:,} bytes")
                file.write(chunk)
                progress("Downloading CIFAR-100", have, remote.length)
