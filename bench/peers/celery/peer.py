"""Celery on Redis, as broker and as result backend.

One driver process and a worker of two prefork processes, one for each core: for handlers that do nothing that is faster
than threads or gevent. Prefetching 64 tasks for each process is what its documentation advises for many short tasks;
without heartbeats between workers, gossip and mingling, as there is only one worker.

Celery has no bulk submit, so the batch figure submits one by one, too, but over one connection taken from the pool once.
Its client is synchronous, so 64 submits in flight are 64 threads.

Fair, because: tasks are acknowledged after they have run (`task_acks_late`), which is at-least-once, the default of ours.
Celery's own default acknowledges first and may lose a task; it was no faster. Each task's result is kept in Redis: that is
the record that is counted, as a done task of ours stays in the store. With appendfsync always both are durable before a
submit is answered. A latency ends with the `task_postrun` signal: the result is durable.
"""

import install
from peer import Site, Variant

PROCESSES = 2


def variants(site: Site) -> list[Variant]:
    store = site.redis()
    here = site.here / "celery"
    requirements = here / "requirements.txt"
    python = install.venv(site, "celery", requirements)
    worker = f"-m celery -A tasks worker -l WARNING -P prefork -c {PROCESSES} -O fair --without-heartbeat --without-gossip --without-mingle"
    return [
        Variant(
            name="celery",
            library="Celery",
            version=install.pinned_version(requirements, "celery"),
            store=store,
            driver=[str(python), str(here / "driver.py")],
            worker=[str(python), *worker.split()],
            configured=f"1 worker, prefork {PROCESSES}, acks late, prefetch 64, results in Redis; no bulk submit",
            latency_end="the result on record, as the worker knows",
            environment={"PYTHONPATH": f"{here}:{site.here / 'python'}"},
        )
    ]


PEERS = {"celery": variants}
