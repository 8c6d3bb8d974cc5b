"""graphile-worker on PostgreSQL.

One driver and one worker process, both Node. Two variants: with its local queue of 500 jobs and batched completion, the
settings its own documentation names for throughput, and as it comes, with 20 jobs at once. Bulk submit is `addJobs` in
chunks of 1,000, four under way, as for ours. Single submits are `addJob`, 64 under way over 16 connections (more
connections only add work for PostgreSQL on two cores).

Fair, because: synchronous_commit is on, so a submit is durable when it is answered, as with ours. Not quite fair to ours: it
deletes a job when it is done and keeps no record of it, so it writes less; what is counted as completed is what was submitted
and is no longer there. With batched completion a crash may run up to a batch of finished jobs again; ours commits groups,
too, with the same consequence. A latency ends with the handler, because the library does not tell when a job is deleted.
"""

import json

import install
from peer import Site, Variant

CONCURRENCY = 20
LOCAL_QUEUE = 500


def variants(site: Site) -> list[Variant]:
    store = site.postgresql()
    here = site.here / "graphile-worker"
    node, modules = install.npm(site, here)
    version = json.loads((here / "package.json").read_text())["dependencies"]["graphile-worker"]

    def variant(name: str, configured: str, local_queue: int) -> Variant:
        return Variant(
            name=name,
            library="graphile-worker",
            version=version,
            store=store,
            driver=[node, str(here / "driver.js")],
            worker=[node, str(here / "worker.js")],
            configured=f"1 worker process, concurrency {CONCURRENCY}, {configured}, addJobs of 1000, 4 in flight; no record of done jobs",
            latency_end="the end of the handler, the job is deleted later",
            environment={
                "NODE_PATH": str(modules),
                "PEER_CONCURRENCY": str(CONCURRENCY),
                "PEER_LOCAL_QUEUE": str(local_queue),
            },
        )

    return [
        variant("graphile-worker", f"local queue {LOCAL_QUEUE}, batched completion", LOCAL_QUEUE),
        variant("graphile-worker-defaults", "jobs fetched and completed one by one", 0),
    ]


PEERS = {"graphile-worker": variants}
