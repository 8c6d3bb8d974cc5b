"""The Celery application: a task that does nothing, and one that says when it ended."""

import os

import latency
from celery import Celery

# Results have a database of their own, so that its size is the number of completed tasks.
BROKER_DATABASE, RESULT_DATABASE = 0, 1
server = f"redis://127.0.0.1:{os.environ['PEER_REDIS_PORT']}"

app = Celery("peer", broker=f"{server}/{BROKER_DATABASE}", backend=f"{server}/{RESULT_DATABASE}")
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=64,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@app.task
def no_op() -> None:
    """Does nothing."""


@app.task
def stamped(submitted: int) -> None:
    """Takes the time since `submitted`."""
    latency.record(submitted)
