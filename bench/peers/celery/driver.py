"""Submits to Celery and counts the results in its backend."""

import os
from concurrent.futures import ThreadPoolExecutor

import redis
import tasks
from driver_protocol import serve


class Peer:
    """What the harness asks for."""

    def __init__(self) -> None:
        self.results = redis.Redis(port=int(os.environ["PEER_REDIS_PORT"]), db=tasks.RESULT_DATABASE)

    def reset(self) -> None:
        self.results.flushall()

    def submit_batch(self, count: int) -> None:
        with tasks.app.producer_pool.acquire(block=True) as producer:
            for _ in range(count):
                tasks.no_op.apply_async(producer=producer)

    def submit_single(self, count: int, in_flight: int) -> None:
        if in_flight == 1:
            for _ in range(count):
                tasks.no_op.delay()
            return
        with ThreadPoolExecutor(in_flight) as threads:
            list(threads.map(lambda _: tasks.no_op.delay(), range(count)))

    def submit_stamped(self, time: int) -> None:
        tasks.stamped.delay(time)

    def completed(self) -> int:
        return self.results.dbsize()


serve(Peer())
