"""The end-to-end test: breaks a running cluster in many ways, and checks that nothing acknowledged is lost.

The cluster runs already (scripts/e2e.sh). Each step prints one line; the first that fails ends the run. Names of steps
as arguments run only those.
"""

import sys
import time

import backup
import faults
import telemetry
from cluster import GATEWAY, Failure, compose, docker, healthy
from load import Load, all_end_well

IDS = []


def under_load(fault, *arguments):
    """Does it while tasks come in, and waits until they come in again. Failed calls are allowed, lost tasks are not."""
    def step():
        with Load() as load:
            load.more(10)
            fault(*arguments)
            load.more(10)
        ids = list(load.acknowledged)
        all_end_well(ids)
        IDS.extend(ids)
        return f"{len(ids)} tasks acknowledged, all ended once; {len(load.failures)} calls had to be repeated"
    return step


def rolling_restart():
    """Every service, one container after the other: no call fails."""
    second, url = faults.second_gateway()
    try:
        from cluster import eventually, http
        eventually("the second gateway is ready", lambda: http("GET", f"{url}/readyz")[0] == 200)
        with Load([GATEWAY, url]) as load:
            load.more(10)
            faults.roll(["registry", "scheduler", "worker", "gateway"])
            load.more(10)
        if load.failures:
            raise Failure(f"{len(load.failures)} calls failed: {load.failures[:3]}")
        all_end_well(load.acknowledged)
        IDS.extend(load.acknowledged)
        return f"{len(load.acknowledged)} calls, none failed"
    finally:
        docker("rm", "--force", second)


def four_workers():
    compose("up", "--detach", "--no-build", "--no-recreate", "--scale", "worker=4", "worker")
    healthy("worker", 4)
    telemetry.targets_are_up({**telemetry.TARGETS, "worker": 4})
    compose("up", "--detach", "--no-build", "--no-recreate", "--scale", "worker=2", "worker")
    healthy("worker", 2)
    return "four workers registered and were scraped, two left in order"


def traces_and_logs():
    trace_id = telemetry.the_trace_is_whole()
    services = telemetry.logs_have_the_trace(trace_id)
    return f"trace {trace_id} is whole in Jaeger; lines of {', '.join(sorted(services))} and the log store carry it"


def metrics():
    telemetry.targets_are_up()
    with Load() as load:
        load.more(50)
        queries = telemetry.dashboards_have_data()
    all_end_well(load.acknowledged)
    rules = telemetry.alerts_are_loaded()
    return f"every target is up, {queries} queries of dashboards have data, {rules} rules are evaluated"


def sampling():
    telemetry.errors_are_always_kept()
    return "with a share of 0 % the trace with an error was kept, the other was not"


def door():
    """Nobody comes in without the key, and the containers are what they should be."""
    import json
    from cluster import containers, http
    status, _, text = http("GET", f"{GATEWAY}/v1/tasks", headers={"authorization": "Bearer wrong"})
    if status != 401:
        raise Failure(f"a wrong key got {status} {text}")
    for service in ("gateway", "registry", "scheduler", "worker"):
        about = json.loads(docker("inspect", containers(service)[0]))[0]
        image = json.loads(docker("image", "inspect", about["Image"]))[0]
        labels = image["Config"]["Labels"]
        if image["Config"]["User"] != "10001:10001" or not about["HostConfig"]["ReadonlyRootfs"]:
            raise Failure(f"{service} runs as {image['Config']['User']}, read-only root: {about['HostConfig']['ReadonlyRootfs']}")
        if not labels["org.opencontainers.image.version"] or not labels["org.opencontainers.image.revision"]:
            raise Failure(f"the image of {service} has no version or revision: {labels}")
        if image["Config"]["Healthcheck"]["Test"] != ["CMD", f"mcp-{service}", "--health"]:
            raise Failure(f"{service} is asked for its health by {image['Config']['Healthcheck']}")
        if about["HostConfig"]["CapDrop"] != ["ALL"] or "no-new-privileges:true" not in about["HostConfig"]["SecurityOpt"]:
            raise Failure(f"{service} keeps {about['HostConfig']['CapDrop']}, {about['HostConfig']['SecurityOpt']}")
        inside = docker("exec", about["Id"], "sh", "-c", "touch /wrong /var/lib/mcp/wrong /usr/local/bin/wrong 2>/dev/null; command -v curl; ls /wrong /var/lib/mcp /usr/local/bin 2>/dev/null", check=False)
        if "wrong" in inside or "curl" in inside:
            raise Failure(f"{service} can write its root, or has curl: {inside}")
    return "a wrong key is refused; images are labelled, run as 10001 with a read-only root and no capabilities, and check their own health"


STEPS = {
    "door": door,
    "traces": traces_and_logs,
    "metrics": metrics,
    "kill-scheduler": under_load(faults.kill, "scheduler"),
    "kill-worker": under_load(faults.kill, "worker"),
    "kill-gateway": under_load(faults.kill, "gateway"),
    "pause-scheduler": under_load(faults.pause, "scheduler"),
    "pause-worker": under_load(faults.pause, "worker"),
    "cut-off-scheduler": under_load(faults.cut_off, "scheduler"),
    "cut-off-worker": under_load(faults.cut_off, "worker"),
    "restart-etcd": under_load(faults.restart, "etcd"),
    "restart-postgres": under_load(faults.restart, "postgres"),
    "kill-postgres": under_load(faults.kill, "postgres"),
    "rolling-restart": rolling_restart,
    "four-workers": four_workers,
    "sampling": sampling,
    "backup": lambda: f"{backup.everything_comes_back(IDS or telemetry_ids())} tasks and every key came back after dump, wipe, restore",
}


def telemetry_ids():
    """Some tasks, when no step before has left any."""
    with Load() as load:
        load.more(20)
    return load.acknowledged


def main():
    chosen = sys.argv[1:] or list(STEPS)
    for name in chosen:
        start = time.monotonic()
        try:
            said = STEPS[name]()
        except Failure as error:
            print(f"e2e: {name} FAILED after {time.monotonic() - start:.0f} s: {error}", file=sys.stderr, flush=True)
            return 1
        print(f"e2e: {name} ({time.monotonic() - start:.0f} s): {said}", flush=True)
    print(f"e2e: {len(chosen)} passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
