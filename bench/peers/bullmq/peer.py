"""BullMQ on Redis.

One driver and one worker process, both Node. The worker has 100 jobs in progress at once, which suits handlers that do
nothing better than 1 or 50. Bulk submit is `addBulk` in chunks of 1,000, four under way, as for ours. Single submits are
pipelined on one connection, 64 under way.

Fair, because: a completed job stays in BullMQ's completed set, the record that is counted, as a done task of ours stays in
the store. At-least-once (locks with a stalled check) is BullMQ's only mode and the default of ours. With appendfsync always
both are durable before a submit is answered. A latency ends with the worker's `completed` event: the completion is durable.
"""

import json

import install
from peer import Site, Variant

CONCURRENCY = 100


def variants(site: Site) -> list[Variant]:
    store = site.redis()
    here = site.here / "bullmq"
    node, modules = install.npm(site, here)
    return [
        Variant(
            name="bullmq",
            library="BullMQ",
            version=json.loads((here / "package.json").read_text())["dependencies"]["bullmq"],
            store=store,
            driver=[node, str(here / "driver.js")],
            worker=[node, str(here / "worker.js")],
            configured=f"1 worker process, concurrency {CONCURRENCY}, addBulk of 1000, 4 in flight",
            latency_end="the completion on record, as the worker knows",
            environment={"NODE_PATH": str(modules), "PEER_CONCURRENCY": str(CONCURRENCY)},
        )
    ]


PEERS = {"bullmq": variants}
