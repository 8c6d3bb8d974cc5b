"""taskiq on a Redis stream, with results in Redis.

One driver process and a worker of two processes, one for each core. There is no bulk submit: the bulk figure has 64 single
submits under way, like the other one.

Fair, because: a stream with acknowledgements is taskiq-redis's broker that does not lose tasks when a worker dies
(its list broker does), and each task's result is kept: that is the record that is counted. A latency
ends with the handler.
"""

import install
from peer import Site, Variant

PROCESSES = 2


def variants(site: Site) -> list[Variant]:
    store = site.redis()
    here = site.here / "taskiq"
    requirements = here / "requirements.txt"
    python = install.venv(site, "taskiq", requirements)
    return [
        Variant(
            name="taskiq",
            library="taskiq",
            version=install.pinned_version(requirements, "taskiq"),
            store=store,
            driver=[str(python), str(here / "driver.py")],
            worker=[str(python), "-m", "taskiq", "worker", "tasks:broker", "--workers", str(PROCESSES), "--log-level", "WARNING"],
            configured=f"1 worker of {PROCESSES} processes, stream broker, results in Redis; no bulk submit",
            latency_end="the end of the handler, the result is recorded later",
            environment={"PYTHONPATH": f"{here}:{site.here / 'python'}"},
        )
    ]


PEERS = {"taskiq": variants}
