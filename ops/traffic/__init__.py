"""Traffic for a deployed environment: requests at a steady rate, and the outcome of each."""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from data_prep.progress import Progress, silent
from ops.traffic.follower import Follower
from ops.traffic.plan import Run
from ops.traffic.sender import Sender
from ops.traffic.tally import Tally


def carry_out(run: Run, *, settle_seconds: float, progress: Progress = silent) -> Tally:
    """Send the requests of the run's plan, then wait at most `settle_seconds` for the last outcomes. Raises OpsError.

    An interruption (KeyboardInterrupt) stops sending; a second one stops waiting, too. In both cases the tally
    says what happened, and the caller sees the interruption by `tally.sent < plan.images`.
    """
    tally = Tally(run.plan.size)
    sender, stop = Sender(run, tally, progress=progress), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(Follower(run, tally).follow_until, stop, progress=progress)
        try:
            started = time.monotonic()
            sender.send_all()
            tally.seconds = time.monotonic() - started
            with contextlib.suppress(KeyboardInterrupt):
                deadline = time.monotonic() + settle_seconds
                while tally.unfinished and not following.done() and time.monotonic() < deadline:
                    time.sleep(0.1)
        finally:
            stop.set()
            sender.store_labels()
    following.result()  # do not hide errors of the follower
    return tally
