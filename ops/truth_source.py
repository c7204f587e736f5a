"""Reads ground truth from an environment's bucket, or from a folder that was copied from there."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from lambda_src.monitoring.captures import ParseErrors, split_lines
from lambda_src.monitoring.ground_truth import PREFIX, GroundTruth, Label, read_bucket_labels, read_labels
from ops import aws
from ops.errors import OpsError
from ops.window import Window
from stacks.config import EnvironmentConfig

_CHUNK_BYTES = 2**18


def truth_of(config: EnvironmentConfig, window: Window, parse_errors: ParseErrors, folder: Path | None) -> GroundTruth:
    """Every label that can be of a request in the window; raises OpsError."""
    truth = GroundTruth()
    if folder is not None:
        truth.add(_read_folder(folder, config.classes, parse_errors))
    else:
        bucket = aws.bucket(config)
        labels = read_bucket_labels(
            aws.s3(), bucket, classes=config.classes, parse_errors=parse_errors, since=window.since
        )
        truth.add(with_versions(labels))
    return truth


def with_versions(labels: Iterable[Label]) -> Iterator[Label]:
    """A label without a version applies to every version of the image."""
    for label in labels:
        if label.image is None or label.image.version_id:
            yield label
            continue
        for image in aws.object_versions(label.image.bucket, label.image.key):
            if image.key == label.image.key:
                yield label._replace(image=image)


def _read_folder(folder: Path, classes: tuple[str, ...], parse_errors: ParseErrors) -> Iterator[Label]:
    if not folder.is_dir():
        raise OpsError(f"{folder}: no such folder; copy one with `aws s3 sync s3://BUCKET/{PREFIX} ...`")
    for path in sorted(folder.rglob("*.jsonl")):
        with path.open("rb") as file:
            lines = split_lines(iter(lambda file=file: file.read(_CHUNK_BYTES), b""))  # type: ignore[misc]
            yield from read_labels(
                lines, classes=classes, bucket="unknown", parse_errors=parse_errors, name=str(path.relative_to(folder))
            )
