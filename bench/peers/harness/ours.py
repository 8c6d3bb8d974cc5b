"""Our own figures, measured in the same run by the program that `make bench` calls, with a filter."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import time

from peer import Site
from process import Process

FILE = "summary.json"  # where that program leaves the figures of one call
PACKAGES = ("mcp", "mcp-bench")
# Each on its own, so that one that fails does not take the others with it.
FILTERS = ("e2e_batch_fjall", "e2e_batch_postgres", "submit_single_fjall", "latency_200")
BUILD_SECONDS = 3600  # until a build is given up; two cores need many minutes for the first one
MEASURE_SECONDS = 180  # until a figure is given up


def measure(site: Site, repeats: int) -> list[str]:
    """Measures all of them into the results' folder, and returns what failed."""
    if os.environ.get("MCP_BENCH_SKIP") == "1":
        print("ours: not measured (MCP_BENCH_SKIP=1)", flush=True)
        return []
    root = site.here.parent.parent
    log = site.data / "ours.log"
    print("ours: building", flush=True)
    packages = [argument for package in PACKAGES for argument in ("--package", package)]
    if not run(["cargo", "build", "--release", "--locked", "--quiet", *packages], root, {}, log, BUILD_SECONDS):
        return ["ours"]
    program = target(root) / "release" / "mcp-bench"
    found, failed = [], []
    summary = site.results / FILE
    # Its PostgreSQL has its data in the temporary folder, which may be memory: there an fsync costs nothing.
    folder = site.data / "ours"
    folder.mkdir()
    folder.chmod(0o777)
    for name in FILTERS:
        summary.unlink(missing_ok=True)
        with leftovers_removed(site.results):
            done = run([str(program), name, "--runs", str(repeats)], root, {"TMPDIR": str(folder)}, log, MEASURE_SECONDS)
        if done and summary.exists():
            found += json.loads(summary.read_text())
        else:
            failed.append(f"ours ({name})")
    summary.write_text(json.dumps(found, indent=2) + "\n")
    return failed


def target(root: pathlib.Path) -> pathlib.Path:
    """Where cargo builds."""
    return root / os.environ.get("CARGO_TARGET_DIR", "target")


def run(command: list[str], root: pathlib.Path, environment: dict[str, str], log: pathlib.Path, seconds: float) -> bool:
    """Runs it to its end, with its output on ours, and its errors shown when it fails. It is stopped with its children."""
    log.write_bytes(b"")
    end = time.monotonic() + seconds
    process = Process(command, environment, log, root, stdout=None)
    try:
        process.child.wait(max(0.0, end - time.monotonic()))
        fault = f"exit status {process.child.returncode}" if process.child.returncode else ""
    except subprocess.TimeoutExpired:
        fault = f"not done after {seconds:.0f} s"
    finally:
        process.stop()
    if fault:
        print(f"ours: `{' '.join(command)}`: {fault}{process.tail()}", flush=True)
    return not fault


@contextlib.contextmanager
def leftovers_removed(folder: pathlib.Path):
    """Removes the data folders that the program could not remove because it was stopped."""
    before = set(folder.glob(".tmp*"))
    try:
        yield
    finally:
        for left in set(folder.glob(".tmp*")) - before:
            shutil.rmtree(left, ignore_errors=True)
