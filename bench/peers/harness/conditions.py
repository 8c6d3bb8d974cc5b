"""What the figures hold for: the machine, and what making something durable costs on it just now."""

import os
import pathlib
import platform
import statistics
import time

from peer import Site

SYNCS = 500  # writes of the disk's figure
SYNC_BYTES = 4096


def machine(site: Site) -> str:
    """A line about this machine and its disk."""
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{os.cpu_count()} cores ({processor()}), Linux {platform.release()}, load before the run {load}; "
        f"one appended 4 KiB fdatasync took {sync_microseconds(site.data):.0f} us (median of {SYNCS});\n"
        "  submitter, store and worker on this machine; every submit and every completion durable"
        f" ({'; '.join(site.servers()) or 'no server runs'})"
    )


def processor() -> str:
    """The processor's name."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def sync_microseconds(folder: pathlib.Path) -> float:
    """The median time of a write with fdatasync, where the servers' data is."""
    path = folder / "sync-probe"
    took = []
    with path.open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            start = time.perf_counter()
            file.write(bytes(SYNC_BYTES))
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - start)
    path.unlink()
    return statistics.median(took) * 1e6
