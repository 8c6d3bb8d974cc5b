"""Celery on Redis, as broker and as result backend.

One driver process and a worker of two prefork processes, one for each core: for handlers that do nothing that is faster
than threads or gevent. Prefetching 64 tasks for each process is what its documentation advises for many short tasks;
without heartbeats between workers, gossip and mingling, as there is only one worker.

Celery has no bulk submit, so the bulk figure submits one by one, too, but over one connection taken from the pool once.
Its client is synchronous, so "in flight" are threads; more than one make it slower (the interpreter lock), hence one.

Fair, because: tasks are acknowledged after they have run (`task_acks_late`), which is at-least-once, the default of ours.
Celery's own default acknowledges first and may lose a task; it was no faster. Each task's result is kept in Redis: that is
the record that is counted, as a done task of ours stays in the store. With appendfsync always both are durable before a
submit is answered; everysec may lose a second of acknowledged tasks and is shown for comparison.
"""

import install
from peer import Site, Variant

PROCESSES = 2


def variants(site: Site) -> list[Variant]:
    stores = site.redis()
    here = site.here / "celery"
    requirements = here / "requirements.txt"
    python = install.venv(site, "celery", requirements)
    version = install.pinned_version(requirements, "celery")
    worker = f"-m celery -A tasks worker -l WARNING -P prefork -c {PROCESSES} -O fair --without-heartbeat --without-gossip --without-mingle"
    return [
        Variant(
            peer="celery",
            version=version,
            store=store,
            driver=[str(python), str(here / "driver.py")],
            worker=[str(python), *worker.split()],
            configured=f"1 worker, prefork {PROCESSES}, acks late, prefetch 64, results in Redis; no bulk submit",
            environment={"PYTHONPATH": f"{here}:{site.here / 'python'}"},
            batch_share=0.25,
            single_share=0.2,
            in_flight=1,
        )
        for store in stores
    ]


PEERS = {"celery": variants}
