"""Submits to taskiq and counts the results in its backend."""

import asyncio
import os

import redis
import tasks
import uvloop
from driver_protocol import serve

IN_FLIGHT = 64


class Peer:
    """What the harness asks for."""

    def __init__(self) -> None:
        self.results = redis.Redis(port=int(os.environ["PEER_REDIS_PORT"]), db=tasks.RESULT_DATABASE)
        self.loop = uvloop.new_event_loop()
        asyncio.set_event_loop(self.loop)

    def reset(self) -> None:
        self.results.flushall()
        self.loop.run_until_complete(tasks.broker.startup())  # makes the stream and its group

    def submit_batch(self, count: int) -> None:
        self.submit_single(count, IN_FLIGHT)

    def submit_single(self, count: int, in_flight: int) -> None:
        self.loop.run_until_complete(self.submit_all(count, in_flight))

    async def submit_all(self, count: int, in_flight: int) -> None:
        left = iter(range(count))

        async def lane() -> None:
            for _ in left:
                await tasks.no_op.kiq()

        await asyncio.gather(*[lane() for _ in range(in_flight)])

    def submit_stamped(self, time: int) -> None:
        self.loop.run_until_complete(tasks.stamped.kiq(time))

    def completed(self) -> int:
        return self.results.dbsize()


serve(Peer())
