"""`python -m data_prep`: what to run before deploying."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from data_prep.build import MAX_REJECTED_SHARE, build_dataset
from data_prep.dataset import Manifest, default_folder
from data_prep.errors import DataPrepError
from data_prep.fetch import CIFAR_100, DEFAULT_CACHE, fetch_archive, file_sha256
from data_prep.progress import progress_bars
from data_prep.sample import draw_archive
from stacks.config import ConfigError, EnvironmentConfig, load_environment

app = typer.Typer(
    name="data_prep",
    help="From CIFAR-100 to a data set on S3 and a trained model: what to run before deploying.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Environment = Annotated[str, typer.Option("--env", help="Environment of cdk.json whose classes are used.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes, only errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="The result as JSON on standard output.")]
ArchivePath = Annotated[
    Path | None,
    typer.Option(help="Archive in CIFAR-100's format to use instead of the official one.", show_default=False),
]


def note(text: str) -> None:
    typer.echo(text, err=True)


def show(result: dict[str, Any], text: str, *, as_json: bool) -> None:
    """The result of a command, for machines or for people."""
    typer.echo(json.dumps(result, ensure_ascii=False, indent=2) if as_json else text)


def archive_for(config: EnvironmentConfig, archive: Path | None, *, cache: Path = DEFAULT_CACHE, quiet: bool) -> Path:
    """The archive that was asked for, or else the official or drawn one."""
    if archive is None:
        with progress_bars(quiet=quiet) as progress:
            return fetch_archive(classes=config.classes, cache=cache, say=note, progress=progress)
    if not archive.is_file():
        raise DataPrepError(f"{archive}: no such file; give the path of an archive in CIFAR-100's format")
    digest = file_sha256(archive)
    if digest != CIFAR_100.sha256:
        note(f"Warning: {archive} is not the official archive; its sha256 is {digest}")
    return archive


@app.command(epilog="Example: python -m data_prep fetch --env dev")
def fetch(
    *,
    env: Environment = "dev",
    archive: ArchivePath = None,
    cache: Annotated[Path, typer.Option(help="Folder that keeps the archive.")] = DEFAULT_CACHE,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Download and verify CIFAR-100, or draw an archive in its format if its host cannot be reached."""
    path = archive_for(load_environment(env), archive, cache=cache, quiet=quiet)
    digest = file_sha256(path)
    show({"archive": str(path), "sha256": digest}, f"{path}\nsha256 {digest}", as_json=as_json)


@app.command(epilog="Example: python -m data_prep build --env dev")
def build(
    *,
    env: Environment = "dev",
    archive: ArchivePath = None,
    output: Annotated[Path | None, typer.Option(help="Data set folder; default is data/ENV.")] = None,
    max_rejected_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of bad images in a split above which to stop.")
    ] = MAX_REJECTED_SHARE,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write the images of the environment's classes as checked PNG, with .lst files and a manifest."""
    config = load_environment(env)
    source = archive_for(config, archive, quiet=quiet)
    folder = output or default_folder(env)
    with progress_bars(quiet=quiet) as progress:
        manifest = build_dataset(
            source, folder, classes=config.classes, max_rejected_share=max_rejected_share, progress=progress
        )
    show(manifest.as_dict(), f"{folder}\n{_summary(manifest)}", as_json=as_json)


def _summary(manifest: Manifest) -> str:
    lines = []
    for name, split in manifest.splits.items():
        counts = ", ".join(f"{count:,} {label}" for label, count in split.counts.items())
        lines.append(f"{name:5} {split.total:,} images: {counts}; {len(split.rejected)} rejected")
    return "\n".join([*lines, f"source {manifest.archive.source}", f"data digest {manifest.data_digest}"])


@app.command(epilog="Example: python -m data_prep sample --env dev data/sample.tar.gz")
def sample(
    path: Annotated[Path, typer.Argument(help="Archive to write.")],
    *,
    env: Environment = "dev",
    train: Annotated[int, typer.Option(min=1, max=500, help="Training images per class.")] = 500,
    test: Annotated[int, typer.Option(min=1, max=500, help="Test images per class.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other images.")] = 100,
    quiet: Quiet = False,
) -> None:
    """Draw an archive in CIFAR-100's format with the environment's classes."""
    with progress_bars(quiet=quiet) as progress:
        draw_archive(
            path,
            classes=load_environment(env).classes,
            train_per_class=train,
            test_per_class=test,
            seed=seed,
            progress=progress,
        )
    typer.echo(path)


def main() -> None:
    try:
        app()
    except (DataPrepError, ConfigError) as error:
        note(f"Error: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
