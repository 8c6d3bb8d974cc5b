"""graphile-worker on PostgreSQL.

One driver and one worker process, both Node. Two variants: as it comes with 20 jobs at once, and with its local queue of
500 jobs and batched completion, the settings its own documentation names for throughput. Bulk submit is `addJobs` in
chunks of 1,000, four under way, as for ours. Single submits are `addJob`, 64 under way over 16 connections (more
connections only add work for PostgreSQL on two cores).

Fair, because: synchronous_commit is on, so a submit is durable when it is answered, as with ours. Not quite fair to ours: it
deletes a job when it is done and keeps no record of it, so it writes less; what is counted as completed is what was submitted
and is no longer there. With batched completion a crash may run up to a batch of finished jobs again; ours commits groups,
too, with the same consequence.
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

    def variant(label: str, configured: str, local_queue: int, batch_share: float) -> Variant:
        return Variant(
            peer="graphile-worker",
            version=version,
            store=store,
            driver=[node, str(here / "driver.js")],
            worker=[node, str(here / "worker.js")],
            configured=f"1 worker process, concurrency {CONCURRENCY}, {configured}, addJobs of 1000, 4 in flight; no record of completed jobs",
            environment={
                "NODE_PATH": str(modules),
                "PEER_CONCURRENCY": str(CONCURRENCY),
                "PEER_LOCAL_QUEUE": str(local_queue),
            },
            label=label,
            batch_share=batch_share,
            single_share=0.2,
        )

    return [
        variant(f"local queue {LOCAL_QUEUE}", "jobs fetched and completed in batches", LOCAL_QUEUE, 2.0),
        variant("defaults", "jobs fetched and completed one by one", 0, 0.5),
    ]


PEERS = {"graphile-worker": variants}
