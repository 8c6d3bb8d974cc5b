"""What is done to a peer, and what is measured meanwhile. The scenarios are those of our own benchmark."""

import dataclasses
import os
import pathlib
import time

from figures import Metric, Result
from peer import Site, Variant
from process import Driver, Failed, Process

BATCH = 1000  # tasks in one bulk submit, as for ours; the drivers use it too
PHASE_SECONDS = 3.0  # what a measurement of tasks a second should take; how many tasks that are is found out first
PROBE_TASKS, TASKS_MAX = 200, 60_000  # tasks to find that out with, and at most
PACED_SECONDS, PACED_RATE = 5, 200  # how long, and tasks a second, as for ours
STALL_SECONDS = 15.0  # without a completed task until a run is given up
WARM_UP_SECONDS = 40.0  # until a new worker must have done its first task; some peers need a heartbeat of 30 s
LATE_SECONDS = 10.0  # after the last paced submit until what is not handled counts as not handled
POLL_SECONDS = (0.003, 0.25)  # shortest and longest wait between two looks at the number of completed tasks


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much is measured."""

    repeats: int  # as many of them as the peer's time allows, at least one
    peer_seconds: int  # for all repeats of all variants of a peer, without installing it

    @classmethod
    def from_environment(cls) -> "Plan":
        def number(name: str, default: int) -> int:
            text = os.environ.get(name) or str(default)
            if not text.isdigit() or int(text) == 0:
                raise SystemExit(f"{name}: `{text}` is not a number above 0")
            return int(text)

        return cls(number("MCP_BENCH_REPEATS", 3), number("MCP_BENCH_PEER_SECONDS", 60))

    def __str__(self) -> str:
        return f"up to {self.repeats} repeats within {self.peer_seconds} s for each peer, a new submitter and a new worker for each"


def measure(site: Site, plan: Plan, variant: Variant, seconds: float) -> Result:
    """The repeats of one variant, as many as fit into the time. What fails is told in the result."""
    result = Result(variant.name, variant)
    environment = variant.environment | variant.store.environment | {"PEER_LATENCY_FILE": str(site.data / "latency")}
    log = site.data / f"{variant.name}.log"
    log.write_bytes(b"")
    end = time.monotonic() + seconds
    longest = 0.0
    counts: dict[str, int] = {}
    for repeat in range(plan.repeats):
        start = time.monotonic()
        if start + longest > end:
            break
        driver = None
        try:
            driver = Driver(variant.driver, environment, log)
            Repeat(variant, environment, driver, site.data / "latency", result, end, counts).run()
        except Failed as fault:
            result.fault = f"repeat {repeat + 1}: {fault}"
        finally:
            if driver:
                driver.stop()
        longest = max(longest, time.monotonic() - start)
    return result


@dataclasses.dataclass
class Repeat:
    """One pass through the scenarios with a new driver and a new worker."""

    variant: Variant
    environment: dict[str, str]
    driver: Driver
    latency_file: pathlib.Path
    result: Result
    end: float  # by the monotonic clock
    counts: dict[str, int]  # tasks of a measurement, the same in each repeat
    worker: Process | None = None

    def run(self) -> None:
        self.ask("reset")
        self.latency_file.write_bytes(b"")
        self.worker = Process(self.variant.worker, self.environment, self.driver.log, self.driver.log.parent)
        try:
            self.submit_and_wait("single", 1, WARM_UP_SECONDS)
            self.end_to_end()
            self.one_by_one()
            self.latency()
        finally:
            self.worker.stop()

    def end_to_end(self) -> None:
        tasks = self.warm_up("batch")
        _, took = self.submit_and_wait("batch", tasks)
        self.result.add(Metric.E2E_BATCH, tasks / took, f"{tasks} no-op tasks, {Metric.E2E_BATCH.meaning}")

    def one_by_one(self) -> None:
        tasks = self.warm_up("single")
        for metric, took in zip((Metric.SUBMIT_SINGLE, Metric.E2E_SINGLE), self.submit_and_wait("single", tasks)):
            self.result.add(metric, tasks / took, f"{tasks} no-op tasks, {metric.meaning}, {self.variant.in_flight} in flight")

    def warm_up(self, how: str) -> int:
        """Runs a few tasks, then more of them when that was fast. Returns how many make a measurement long enough."""
        tasks = PROBE_TASKS
        for seconds in (PHASE_SECONDS / 4, PHASE_SECONDS):
            _, took = self.submit_and_wait(how, tasks)
            tasks = min(max(PROBE_TASKS, int(tasks / took * seconds)), TASKS_MAX)
        whole_batches = tasks // BATCH * BATCH
        return self.counts.setdefault(how, whole_batches or tasks)

    def submit_and_wait(self, how: str, tasks: int, patience: float = STALL_SECONDS) -> tuple[float, float]:
        """Submits tasks, and returns after what time that was done and after what time they were completed on record."""
        before = self.completed()
        arguments = {"in_flight": self.variant.in_flight} if how == "single" else {}
        start = time.monotonic()
        self.ask(how, tasks=tasks, **arguments)
        submitted = time.monotonic()
        return submitted - start, self.wait_for(before + tasks, patience) - start

    def latency(self) -> None:
        tasks = PACED_RATE * PACED_SECONDS
        before = self.completed()
        self.latency_file.write_bytes(b"")  # the same file, which the worker may have open
        self.ask("paced", tasks=tasks, rate=PACED_RATE)
        end = time.monotonic() + LATE_SECONDS
        while len(waits := self.waits()) < tasks and time.monotonic() < end:
            time.sleep(0.05)
        conditions = f"{PACED_RATE}/s for {PACED_SECONDS} s, submit to {self.variant.latency_end}"
        if len(waits) < tasks:
            handled = f"{len(waits)} of {tasks} tasks were handled within {LATE_SECONDS:.0f} s of the last submit"
            raise Failed(f"at {PACED_RATE}/s only {handled}{self.worker_state()}")
        for metric, part in ((Metric.LATENCY_P50, 0.5), (Metric.LATENCY_P99, 0.99)):
            self.result.add(metric, waits[int((tasks - 1) * part)] / 1e6, conditions)
        self.wait_for(before + tasks)  # the worker is not stopped in the midst of its last writes

    def waits(self) -> list[int]:
        """What the worker has written so far, in nanoseconds, ascending; without a line that is being written."""
        text = self.latency_file.read_text()
        return sorted(int(line) for line in text[: text.rfind("\n") + 1].split())

    def ask(self, do: str, **arguments: int) -> dict:
        """Has the driver do something, within the time that is left."""
        return self.driver.ask(self.end - time.monotonic(), do, **arguments)

    def completed(self) -> int:
        return self.ask("completed")["tasks"]

    def wait_for(self, tasks: int, patience: float = STALL_SECONDS) -> float:
        """Waits until so many tasks are completed on record, and returns when that was seen.

        Looking costs the store something, so the next look comes when half of the rest should be done.
        """
        start = changed = time.monotonic()
        first = last = self.completed()
        while last < tasks:
            now = time.monotonic()
            if now > self.end:
                raise Failed(f"at {last} of {tasks} tasks when the time was up{self.worker_state()}")
            if now - changed > patience:
                raise Failed(f"stuck at {last} of {tasks} tasks for {patience:.0f} s{self.worker_state()}")
            rate = (last - first) / (now - start)
            rest = (tasks - last) / rate if rate > 0 else 0
            time.sleep(min(max(rest / 2, POLL_SECONDS[0]), POLL_SECONDS[1]))
            count = self.completed()
            if count > last:
                last, changed = count, time.monotonic()
        return time.monotonic()

    def worker_state(self) -> str:
        if self.worker and not self.worker.is_running():
            return f"; the worker has ended:{self.worker.tail()}"
        return ""
