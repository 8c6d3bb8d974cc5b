"""apalis on Redis and on PostgreSQL; both need the Rust program in this folder.

One driver and one worker process, each with two threads and mimalloc, like ours. The worker fetches 500 tasks at once (10 by
default, which is far slower) and runs each as a tokio task. Bulk submit is `push_bulk` in chunks of 1,000, four under way,
as for ours; on Redis it waits while 5,000 tasks are waiting, because the worker's script fails at some 8,000. Single submits:
64 under way, on one multiplexed Redis connection, or on 16 PostgreSQL connections.

An idle worker looks every millisecond (Redis) or is told by NOTIFY and looks every 50 ms as well (PostgreSQL). The timer is
src/steady.rs: apalis's own now and then forgets to wake the worker, which then stalls for up to half a minute.

Fair, because: results and leases are kept, apalis's default, and the set or status of done tasks is the record that is
counted, as a done task of ours stays in the store. synchronous_commit on and appendfsync always are durable before a submit
is answered. A latency ends with the handler, because the library stores results in groups and does not tell when.
"""

import install
from peer import Site, Store, Variant


def redis(site: Site) -> list[Variant]:
    """On Redis."""
    return [variant(site, "redis", site.redis())]


def postgres(site: Site) -> list[Variant]:
    """On PostgreSQL."""
    return [variant(site, "postgres", site.postgresql())]


def variant(site: Site, kind: str, store: Store) -> Variant:
    here = site.here / "apalis"
    program = str(install.cargo(site, here, "apalis-peer"))
    return Variant(
        name=f"apalis-{kind}",
        library=f"apalis-{kind}",
        version=install.locked_version(here / "Cargo.lock", f"apalis-{kind}"),
        store=store,
        driver=[program, "driver", kind],
        worker=[program, "worker", kind],
        configured="1 worker process, fetches 500, push_bulk of 1000, 4 in flight",
        latency_end="the end of the handler, the completion is recorded later",
    )


PEERS = {"apalis-redis": redis, "apalis-postgres": postgres}
