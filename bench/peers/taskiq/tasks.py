"""The taskiq broker: a task that does nothing, and one that says when it ended."""

import os

import latency
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

# Results have a database of their own, so that its size is the number of completed tasks.
BROKER_DATABASE, RESULT_DATABASE = 0, 1
server = f"redis://127.0.0.1:{os.environ['PEER_REDIS_PORT']}"

results = RedisAsyncResultBackend(redis_url=f"{server}/{RESULT_DATABASE}")
broker = RedisStreamBroker(url=f"{server}/{BROKER_DATABASE}").with_result_backend(results)


@broker.task
async def no_op() -> None:
    """Does nothing."""


@broker.task
async def stamped(submitted: int) -> None:
    """Takes the time since `submitted`."""
    latency.record(submitted)
