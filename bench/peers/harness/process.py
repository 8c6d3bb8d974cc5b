"""The two processes of a peer: the driver, which submits and counts, and the worker, whose handler does nothing.

A driver answers each line of JSON on its standard input with one on its standard output; `{"ready": true}` comes first.

    {"do": "reset"}                                  {}               forget all tasks; no worker runs
    {"do": "batch", "tasks": 1000}                   {}               submit no-op tasks the fastest way there is
    {"do": "single", "tasks": 1000, "in_flight": 64} {}               submit them one by one, so many at once
    {"do": "paced", "tasks": 1000, "rate": 200}      {}               submit tasks that carry the time, so many a second
    {"do": "completed"}                              {"tasks": 1000}  how many are completed on record since the reset

or with `{"error": "..."}`. It ends when its input does. The time is CLOCK_MONOTONIC, in nanoseconds, which all processes
of a machine share; the worker takes it again when the task has ended and appends the difference to the file that
PEER_LATENCY_FILE names, a line for each task.
"""

import json
import os
import pathlib
import select
import signal
import subprocess

START_SECONDS = 30  # until a driver that does not start is given up
STOP_SECONDS = 8  # until a process that does not stop is killed
LOG_LINES = 8  # of a failed process that are shown


class Failed(Exception):
    """A driver or worker did not do what it should."""


class Process:
    """A command in a session of its own, so that it is stopped with all its children; it also ends with this program."""

    def __init__(
        self, command: list[str], environment: dict[str, str], log: pathlib.Path, folder: pathlib.Path, **pipes: int | None
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self.child = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *command],
                env=os.environ | environment,
                cwd=folder,
                start_new_session=True,
                **{"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output} | pipes,
            )

    def is_running(self) -> bool:
        return self.child.poll() is None

    def stop(self) -> None:
        """Asks the process to stop, then ends whatever is left of its group."""
        try:
            if self.is_running():
                self.child.send_signal(signal.SIGTERM)
                self.child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe:
                pipe.close()

    def tail(self) -> str:
        """The end of its log."""
        lines = self.log.read_text(errors="replace").strip().splitlines()[-LOG_LINES:]
        return "".join(f"\n    {line}" for line in lines)


class Driver(Process):
    """The submitter of a peer."""

    def __init__(self, command: list[str], environment: dict[str, str], log: pathlib.Path) -> None:
        super().__init__(command, environment, log, log.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self.read(START_SECONDS)
        except BaseException:
            self.stop()
            raise

    def ask(self, seconds: float, do: str, **arguments: int) -> dict:
        """Has it do something within so many seconds, and returns the answer."""
        try:
            self.child.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            self.child.stdin.flush()
        except BrokenPipeError:
            raise Failed(f"the driver has ended:{self.tail()}") from None
        return self.read(seconds, f"`{do}`")

    def read(self, seconds: float, what: str = "its start") -> dict:
        # It writes whole lines, one for each question, so a line can be read when there is something to read.
        if not select.select([self.child.stdout], [], [], max(0.0, seconds))[0]:
            raise Failed(f"the driver was not done with {what} in the {max(0.0, seconds):.0f} s that it had{self.tail()}")
        line = self.child.stdout.readline()
        if not line:
            raise Failed(f"the driver has ended:{self.tail()}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(f"the driver says: {answer['error']}{self.tail()}")
        return answer
