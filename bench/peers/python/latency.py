"""The worker's side of the latency figures: how long ago a task was submitted, to the file of the harness."""

import functools
import os
import time


@functools.cache
def latency_file() -> int:
    """Opened on first use, so that each forked worker process has one of its own."""
    return os.open(os.environ["PEER_LATENCY_FILE"], os.O_WRONLY | os.O_APPEND)


def record(submitted: int) -> None:
    """Called when a task ends. The time is taken before the write, so that the write is not part of it."""
    took = time.monotonic_ns() - submitted
    os.write(latency_file(), b"%d\n" % took)
