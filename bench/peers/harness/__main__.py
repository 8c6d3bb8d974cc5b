"""Measures our system and every peer, and prints how ours compares. Called by run.sh, which starts the servers and stops them.

Steps: `measure` does everything, `ratios` prints the ratios of the last run once more.
Exit status 0: ours and all peers that must run were measured. 1: one of them was not; which and why is printed.
"""

import os
import signal
import sys
import time

import conditions
import figures
import measure
import ours
import peer
import ratios

# Without MCP_BENCH_PEERS these run, and all of them must. The others are there for whoever wants to know.
REQUIRED = ("bullmq", "celery", "apalis-redis", "graphile-worker")


def main() -> int:
    # So that `finally` blocks run, and drivers and workers are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    site = peer.Site.from_environment()
    match sys.argv[1:]:
        case ["measure"]:
            return run(site)
        case ["ratios"]:
            ratios.print_all(site.results)
            return 0
    raise SystemExit("usage: harness measure|ratios")


def run(site: peer.Site) -> int:
    """Installs everything, then measures ours and the peers one after the other, then compares."""
    plan = measure.Plan.from_environment()
    peers = peer.find(site.here, os.environ.get("MCP_BENCH_PEERS", ""), REQUIRED)
    # Everything is there before the first figure, so that figures of one run lie close together.
    installed = {name: install(site, name, variants) for name, variants in peers.items()}
    ratios.start_run(site.results)
    about = conditions.machine(site)
    print(f"\nConditions: {about}\n  {plan}", flush=True)
    ours_failed = ours.measure(site, plan.repeats)
    results = []
    for name, variants in installed.items():
        results += measure_peer(site, plan, name, variants)
    figures.write(site.results, results)
    print()
    ratios.print_all(site.results)
    failed = ours_failed + [result.name for result in results if not result.is_complete()]
    if failed:
        print(f"\nbench-peers: failed, not or not wholly measured: {', '.join(failed)}")
    return 1 if failed else 0


def install(site: peer.Site, name: str, variants: peer.Variants) -> list[peer.Variant] | str:
    """What there is to measure of a peer, or why there is nothing."""
    try:
        return variants(site)
    except peer.Unavailable as reason:
        print(f"{name} is unavailable: {reason}", flush=True)
        return str(reason)


def measure_peer(site: peer.Site, plan: measure.Plan, name: str, variants: list[peer.Variant] | str) -> list[figures.Result]:
    """Measures each variant of a peer; together they stay within the time that a peer has."""
    if isinstance(variants, str):
        return [figures.Result(name, fault=variants)]
    end = time.monotonic() + plan.peer_seconds
    results = []
    for number, variant in enumerate(variants):
        share = (end - time.monotonic()) / (len(variants) - number)
        results.append(measure.measure(site, plan, variant, share))
        results[-1].print()
    return results


if __name__ == "__main__":
    sys.exit(main())
