"""A training job as it runs, on the terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from data_prep.training import JobState

_BARS = "▁▂▃▄▅▆▇█"
_MAX_BARS = 60


@contextmanager
def job_view(*, quiet: bool) -> Iterator[Callable[[JobState], None]]:
    """A table on stderr that follows the states it is given; nothing if `quiet` or not on a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    with Live(console=Console(stderr=True), auto_refresh=False) as live:
        yield lambda state: live.update(job_table(state), refresh=True)


def job_table(state: JobState) -> Table:
    """Status, billable time and the validation accuracy by epoch."""
    table = Table(show_header=False, box=None)
    table.add_row("Job", state.name)
    table.add_row("Status", f"{state.status}: {state.secondary_status}  [dim]{escape(state.message)}[/dim]")
    table.add_row("Time", f"{state.training_seconds} s on {state.instance_type}, {state.billable_seconds} s billable")
    if state.accuracies:
        last = max(state.accuracies)
        best = max(state.accuracies, key=lambda epoch: state.accuracies[epoch])
        table.add_row(
            "Validation accuracy",
            f"{state.accuracies[last]:.3f} in epoch {last}, best {state.accuracies[best]:.3f} in epoch {best}",
        )
        table.add_row("", accuracy_bars([state.accuracies[epoch] for epoch in sorted(state.accuracies)]))
    return table


def accuracy_bars(accuracies: list[float]) -> str:
    """One bar per epoch from 0 to 1, the last ones if there are many."""
    return "".join(_BARS[min(int(value * len(_BARS)), len(_BARS) - 1)] for value in accuracies[-_MAX_BARS:])
