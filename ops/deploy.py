"""The command `deploy`: from nothing to a tested environment."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from data_prep.options import ArchivePath, EnvironmentName, Synthetic
from data_prep.target import current_target
from ops import aws, doctor, smoke
from ops.cdk import App, assembly, change_stacks
from ops.errors import OpsError
from ops.outputs import show_outputs
from ops.paused import describe_pause, paused_since
from stacks.config import ENDPOINT_EXISTS, PROJECT_ROOT, EnvironmentConfig, load_environment


def deploy(
    env: EnvironmentName = "dev",
    archive: ArchivePath = None,
    synthetic: Synthetic = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show cdk's output in the local cloud, too; it is in build/ otherwise.")
    ] = False,
    app: App = None,
) -> None:
    """Check, deploy the bucket, train a model unless one fits, deploy the rest, and run a smoke test.

    You can interrupt and repeat it: each step completes what is missing, and reports what it reuses.
    """
    config = load_environment(env)
    typer.echo(f"Deploying environment {env} to {current_target()}")
    _step("doctor")
    checks = doctor.examine(config)
    doctor.show(checks)
    failed = [f"{check.name}: {check.found}; {check.fix}" for check in checks if check.status == "failed"]
    if failed:
        raise OpsError("nothing was changed; fix first: " + "\n".join(failed))

    _step(f"cdk deploy {env}/Data")
    synthesized = assembly(env, app)
    _cdk_deploy(config, f"{env}/Data", synthesized, verbose=verbose)
    _step("data_prep run")
    _prepare_model(config, archive, synthetic=synthetic)
    _step(f'cdk deploy "{env}/*"')
    _cdk_deploy(config, f"{env}/*", synthesized, verbose=verbose)
    _step("smoke test")
    _try_out(config)
    _step("outputs")
    show_outputs(config)


def _try_out(config: EnvironmentConfig) -> None:
    if since := paused_since(aws.bucket(config)):
        typer.echo(f"Left out, as {config.endpoint_name} is {describe_pause(since)}")
    else:
        smoke.show(config, smoke.smoke_test(config))


def _prepare_model(config: EnvironmentConfig, archive: Path | None, *, synthetic: bool) -> None:
    arguments = ["run", "--env", config.name]
    arguments += ["--archive", str(archive)] if archive else []
    arguments += ["--synthetic"] if synthetic else []
    status = subprocess.run(
        [sys.executable, "-m", "data_prep", *arguments], cwd=PROJECT_ROOT, env=current_target().environment, check=False
    ).returncode
    if status:
        raise OpsError(f"`python -m data_prep {' '.join(arguments)}` ended with status {status}")


def _cdk_deploy(config: EnvironmentConfig, pattern: str, app: Path, *, verbose: bool) -> None:
    options = (f"--app={app}", "--require-approval=never", "--concurrency=4", *_parameters(config))
    change_stacks("deploy", pattern, *options, target=current_target(), verbose=verbose)


def _parameters(config: EnvironmentConfig) -> list[str]:
    """Parameters that depend on the account: whether the endpoint exists, so that its capacity is kept."""
    if not config.endpoint.max_instance_count:
        return []
    exists = aws.described_endpoint(config) is not None
    return [f"--parameters={config.stage_name}-Model:{ENDPOINT_EXISTS}={str(exists).lower()}"]


def _step(title: str) -> None:
    typer.secho(f"\n== {title}", bold=True)
