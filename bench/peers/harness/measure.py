"""What is done to a peer, and what is measured meanwhile. The scenarios are those of our own benchmark."""

import dataclasses
import os
import pathlib
import time

from peer import Site, Variant
from process import Driver, Failed, Process
from report import Metric, Result

BATCH = 1000  # tasks in one bulk submit, as for ours; the drivers use it too
STALL_SECONDS = 20.0  # without a completed task until a run is given up
WARM_UP_SECONDS = 45.0  # until a new worker must have done its first task; some peers need a heartbeat of 30 s
LATE_SECONDS = 10.0  # after the last paced submit until what is not handled counts as not handled
POLL_SECONDS = (0.003, 0.25)  # shortest and longest wait between two looks at the number of completed tasks


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much is measured."""

    tasks: int  # in batches; a peer may take a share of it
    repeats: int
    paced_seconds: int
    rate: int = 200  # tasks a second of the latency figures

    @classmethod
    def from_environment(cls) -> "Plan":
        def number(name: str, default: int) -> int:
            text = os.environ.get(name) or str(default)
            if not text.isdigit() or int(text) == 0:
                raise SystemExit(f"{name}: `{text}` is not a number above 0")
            return int(text)

        return cls(number("MCP_BENCH_N", 20_000), number("MCP_BENCH_REPEATS", 3), number("MCP_BENCH_SECONDS", 5))

    def __str__(self) -> str:
        return f"{self.tasks} tasks, {self.repeats} repeats, {self.paced_seconds} s at {self.rate}/s"


def measure(site: Site, plan: Plan, variant: Variant) -> Result:
    """All repeats of one variant. What fails is told in the result."""
    result = Result(variant)
    latency_file = site.data / "latency"
    environment = variant.environment | variant.store.environment | {"PEER_LATENCY_FILE": str(latency_file)}
    log = site.data / f"{variant.peer}.log"
    log.write_bytes(b"")
    for repeat in range(1, plan.repeats + 1):
        driver = None
        try:
            driver = Driver(variant.driver, environment, log)
            Repeat(plan, variant, environment, driver, latency_file, result).run()
        except Failed as fault:
            result.faults.append(f"repeat {repeat}: {fault}")
        finally:
            if driver:
                driver.stop()
    return result


@dataclasses.dataclass
class Repeat:
    """One pass through the scenarios with a new driver and a new worker."""

    plan: Plan
    variant: Variant
    environment: dict[str, str]
    driver: Driver
    latency_file: pathlib.Path
    result: Result
    worker: Process | None = None

    def run(self) -> None:
        in_flight = self.variant.in_flight
        batch = max(BATCH, int(self.plan.tasks * self.variant.batch_share))
        single = max(in_flight, int(self.plan.tasks * self.variant.single_share))
        self.driver.ask("reset")
        self.submit_without_worker(single, in_flight)
        self.driver.ask("reset")
        self.worker = Process(self.variant.worker, self.environment, self.driver.log)
        try:
            self.warm_up()
            self.end_to_end(batch)
            self.one_by_one(single, in_flight)
            self.latency()
        finally:
            self.worker.stop()

    def submit_without_worker(self, tasks: int, in_flight: int) -> None:
        self.driver.ask("single", tasks=BATCH, in_flight=in_flight)
        start = time.monotonic()
        self.driver.ask("single", tasks=tasks, in_flight=in_flight)
        self.result.add(Metric.SUBMIT_SINGLE_IDLE, tasks / (time.monotonic() - start), f"{tasks} no-op tasks, {in_flight} in flight")

    def warm_up(self) -> None:
        self.driver.ask("single", tasks=1, in_flight=1)
        self.wait_for(1, WARM_UP_SECONDS)
        self.driver.ask("batch", tasks=BATCH)
        self.wait_for(1 + BATCH)

    def end_to_end(self, tasks: int) -> None:
        before = self.completed()
        start = time.monotonic()
        self.driver.ask("batch", tasks=tasks)
        end = self.wait_for(before + tasks)
        self.result.add(Metric.E2E_BATCH, tasks / (end - start), f"{tasks} no-op tasks")

    def one_by_one(self, tasks: int, in_flight: int) -> None:
        before = self.completed()
        start = time.monotonic()
        self.driver.ask("single", tasks=tasks, in_flight=in_flight)
        submitted = time.monotonic()
        end = self.wait_for(before + tasks)
        conditions = f"{tasks} no-op tasks, {in_flight} in flight"
        self.result.add(Metric.SUBMIT_SINGLE, tasks / (submitted - start), conditions)
        self.result.add(Metric.E2E_SINGLE, tasks / (end - start), conditions)

    def latency(self) -> None:
        tasks = self.plan.rate * self.plan.paced_seconds
        before = self.completed()
        self.latency_file.write_bytes(b"")  # the same file, which the worker may have open
        self.driver.ask("paced", tasks=tasks, rate=self.plan.rate)
        end = time.monotonic() + LATE_SECONDS
        while len(waits := self.waits()) < tasks and time.monotonic() < end:
            time.sleep(0.05)
        conditions = f"{self.plan.rate}/s for {self.plan.paced_seconds} s"
        if len(waits) < tasks:
            self.result.faults.append(
                f"at {self.plan.rate}/s only {len(waits)} of {tasks} tasks were handled within {LATE_SECONDS:.0f} s of the last submit;"
                " the latencies are those of the handled ones"
            )
        if waits:
            self.result.add(Metric.LATENCY_P50, waits[int((len(waits) - 1) * 0.5)] / 1e6, conditions)
            self.result.add(Metric.LATENCY_P99, waits[int((len(waits) - 1) * 0.99)] / 1e6, conditions)
        if len(waits) == tasks:
            self.wait_for(before + tasks)  # the worker is not stopped in the midst of its last writes

    def waits(self) -> list[int]:
        """What the worker has written so far, in nanoseconds, ascending; without a line that is being written."""
        text = self.latency_file.read_text()
        return sorted(int(line) for line in text[: text.rfind("\n") + 1].split())

    def completed(self) -> int:
        return self.driver.ask("completed")["tasks"]

    def wait_for(self, tasks: int, patience: float = STALL_SECONDS) -> float:
        """Waits until so many tasks are completed on record, and returns when that was seen.

        Looking costs the store something, so the next look comes when half of the rest should be done.
        """
        start = changed = time.monotonic()
        first = last = self.completed()
        while last < tasks:
            now = time.monotonic()
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
