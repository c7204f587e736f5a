"""Options that several commands of the local cloud share."""

from pathlib import Path
from typing import Annotated

import typer

Archive = Annotated[
    Path | None,
    typer.Option(
        help="A CIFAR-100 archive, which the local cloud remembers. Default: the one that it remembers, or else the "
        "official one, or else synthetic data.",
        show_default=False,
    ),
]
Keep = Annotated[bool, typer.Option("--keep/--no-keep", help="Leave the local cloud running at the end.")]
