"""Reads a baseline from an environment's bucket, or from a file that was copied from there."""

from pathlib import Path

from lambda_src.shared.baseline import Baseline, BaselineError
from ops import aws
from ops.errors import OpsError
from stacks.config import EnvironmentConfig


def baseline_in(path: Path, config: EnvironmentConfig) -> Baseline:
    """The baseline in a file; raises OpsError or OSError."""
    return _parsed(path.read_bytes(), str(path), config)


def baseline_of(config: EnvironmentConfig) -> Baseline | None:
    """The baseline of the environment's model, or None if it has not been computed; raises OpsError."""
    bucket = aws.bucket(config)
    try:
        key = aws.ssm().get_parameter(Name=config.baseline_parameter)["Parameter"]["Value"]
        content = aws.s3().get_object(Bucket=bucket, Key=key)["Body"].read()
    except (aws.ssm().exceptions.ParameterNotFound, aws.s3().exceptions.NoSuchKey):
        return None
    return _parsed(content, f"s3://{bucket}/{key}", config)


def _parsed(content: bytes, name: str, config: EnvironmentConfig) -> Baseline:
    try:
        baseline = Baseline.from_json(content)
    except BaselineError as error:
        raise OpsError(f"{name}: {error}; compute it again with `python -m data_prep baseline --force`") from None
    if baseline.classes != config.classes:
        raise OpsError(f"{name} is of the classes {', '.join(baseline.classes)}, not {', '.join(config.classes)}")
    return baseline
