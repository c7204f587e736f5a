"""Updates the code of the deployed functions with saved files, without a synth.

Lambda accepts new code outside CloudFormation, so deploying an unchanged template leaves that code in place.
"""

import contextlib
import io
import urllib.request
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import boto3
from watchfiles import Change, DefaultFilter

from local import request_guard

FOLDER = "lambda_src"

Package = Mapping[str, bytes]  # content by path in the function's .zip file


@dataclass(frozen=True)
class Function:
    """A deployed function."""

    name: str
    module: str  # of its handler, without the folders
    log_group: str
    package: Package


def deployed_functions(stage_name: str, *, access_key: str) -> list[Function]:
    """The environment's functions that run this project's code. `access_key` is the local cloud's."""
    client = boto3.client("lambda")
    packages: dict[str, Package] = {}
    functions = []
    for page in client.get_paginator("list_functions").paginate():
        for listed in page["Functions"]:
            name, handler = listed["FunctionName"], listed.get("Handler", "")
            if name.startswith(f"{stage_name}-") and handler.startswith(f"{FOLDER}."):
                digest = listed["CodeSha256"]
                if digest not in packages:
                    location = client.get_function(FunctionName=name)["Code"]["Location"]
                    packages[digest] = _download(location, access_key=access_key)
                functions.append(
                    Function(name, handler.split(".")[-2], listed["LoggingConfig"]["LogGroup"], packages[digest])
                )
    return functions


def changed(functions: Iterable[Function], source: Package) -> list[Function]:
    """The functions whose package differs from `source`, with their new package."""
    wanted = ((function, package_of(function, source)) for function in functions)
    return [replace(function, package=package) for function, package in wanted if package != function.package]


def send(functions: Iterable[Function]) -> None:
    """Update each function's code with its package."""
    client = boto3.client("lambda")
    for function in functions:
        client.update_function_code(FunctionName=function.name, ZipFile=_zip(function.package))


def package_of(function: Function, source: Package) -> Package:
    """The function's package from `source`: the files in the folders of its deployed package."""
    folders = {PurePosixPath(path).parent for path in function.package}
    return {path: content for path, content in source.items() if PurePosixPath(path).parent in folders}


def read(root: Path, *folders: str) -> Package:
    """The files in folders of `root`, without temporary files of editors and Python."""
    is_source, found = DefaultFilter(), {}
    for path in (path for folder in folders for path in sorted((root / folder).rglob("*"))):
        if path.is_file() and is_source(Change.modified, str(path)):
            with contextlib.suppress(FileNotFoundError):  # an editor is replacing it, which is another change
                found[path.relative_to(root).as_posix()] = path.read_bytes()
    return found


def syntax_errors(source: Package) -> dict[str, str]:
    """The Python files with a syntax error: file, line and reason, by path."""
    errors = {}
    for path, content in source.items():
        if path.endswith(".py"):
            try:
                with warnings.catch_warnings(action="ignore"):
                    compile(content, path, "exec", dont_inherit=True)
            except SyntaxError as error:
                errors[path] = f"{path}:{error.lineno or 1}: {error.msg}"
            except ValueError as error:  # null bytes, before Python 3.11.4
                errors[path] = f"{path}: {error}"
    return errors


def _zip(package: Package) -> bytes:
    """A .zip file with the same bytes for the same package."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in sorted(package.items()):
            entry = zipfile.ZipInfo(path)
            entry.external_attr = 0o644 << 16  # otherwise the unpacked file is unreadable
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _download(location: str, *, access_key: str) -> Package:
    # The emulator's location names no key, as the pre-signed one of AWS does
    request = urllib.request.Request(location, headers=request_guard.naming(access_key))  # noqa: S310 - the emulator's
    with urllib.request.urlopen(request) as response:  # noqa: S310
        archive = zipfile.ZipFile(io.BytesIO(response.read()))
    return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
