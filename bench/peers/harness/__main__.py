"""Measures every peer and prints how ours compares. Called by run.sh, which starts the servers and stops them.

Exit status 0: all peers that must run did. 1: one of them did not; which and why is printed.
"""

import os
import signal
import sys

import measure
import ours
import peer
import report

# The comparison is worth something only with these; the others are welcome.
REQUIRED = ("bullmq", "celery", "apalis-redis", "graphile-worker")


def main() -> int:
    # So that `finally` blocks run, and drivers and workers are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    site = peer.Site.from_environment()
    plan = measure.Plan.from_environment()
    own = ours.Summary.read(site)
    print(f"{plan}; ours: {own.origin}", flush=True)
    results = []
    for name, variants in peer.find(site.here, os.environ.get("MCP_BENCH_PEERS", "")).items():
        results += measure_peer(site, plan, name, variants)
    report.write_json(site, own, results)
    report.print_tables(own, results)
    ran = {result.variant.peer for result in results if result.complete}
    missing = [name for name in REQUIRED if name not in ran]
    if missing:
        print(f"\nbench-peers: failed, these must run and did not: {', '.join(missing)}")
    return 1 if missing else 0


def measure_peer(site: peer.Site, plan: measure.Plan, name: str, variants: peer.Variants) -> list[report.Result]:
    """Installs a peer and measures each of its variants."""
    try:
        found = variants(site)
    except peer.Unavailable as reason:
        print(f"{name}: unavailable", flush=True)
        return [report.Result.unavailable(name, str(reason))]
    results = []
    for variant in found:
        print(f"{variant.title} ...", flush=True)
        result = measure.measure(site, plan, variant)
        results.append(result)
        for fault in result.faults:
            print(f"  {fault}", flush=True)
    return results


if __name__ == "__main__":
    sys.exit(main())
