"""The Celery application: tasks that do nothing, with and without the time of their submit."""

import os

import latency
from celery import Celery, signals

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
    """Does nothing; the time since `submitted` is taken afterwards."""


@signals.task_postrun.connect(sender=stamped)
def after_stamped(args: list[int], **_: object) -> None:
    """Called when the result is in the backend."""
    latency.record(args[0])
