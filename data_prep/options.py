"""Options that several commands take; `--env` is also that of ops and local."""

from pathlib import Path
from typing import Annotated

import typer

EnvironmentName = Annotated[str, typer.Option("--env", help="An environment of cdk.json.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]
AsJson = Annotated[bool, typer.Option("--json", help="The result as JSON on standard output.")]
ArchivePath = Annotated[
    Path | None,
    typer.Option(help="Archive in CIFAR-100's format to use instead of the official one.", show_default=False),
]
Synthetic = Annotated[
    bool,
    typer.Option("--synthetic", help="Use synthetic images; a model trained on them does not work for photographs."),
]
DataSet = Annotated[
    Path | None, typer.Option("--dataset", help="Data set folder; default is data/ENV.", show_default=False)
]
Output = Annotated[Path | None, typer.Option(help="Data set folder; default is data/ENV.", show_default=False)]
MaxRejectedShare = Annotated[
    float, typer.Option(min=0, max=1, help="Share of bad images in a split above which to stop.")
]
