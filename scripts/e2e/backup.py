"""Dump, wipe, restore: nothing that was acknowledged before the dump is lost."""

import json
import subprocess

from cluster import GATEWAY, PROJECT, Failure, compose, containers, docker, eventually, get, healthy, http
from load import all_end_well


def everything_comes_back(ids):
    before = all_end_well(ids)
    status, _, text = http("POST", f"{GATEWAY}/v1/keys", {"name": "kept", "grants": [{"role": "ROLE_VIEWER"}]})
    if status != 200:
        raise Failure(f"a key cannot be made: {status} {text}")
    keys = sorted(key["id"] for key in get(f"{GATEWAY}/v1/keys")["keys"])
    postgres, etcd = containers("postgres")[0], containers("etcd")[0]
    dump = subprocess.run(["docker", "exec", postgres, "pg_dump", "--username=mcp", "--format=custom", "mcp"], capture_output=True, check=True).stdout
    docker("exec", etcd, "etcdctl", "snapshot", "save", "/etcd-data/backup.db")

    services = ("gateway", "worker", "scheduler", "registry")
    compose("stop", *services)
    docker("exec", postgres, "psql", "--username=mcp", "--command=DROP SCHEMA mcp CASCADE")
    gone = docker("exec", postgres, "psql", "--username=mcp", "--tuples-only", "--command=SELECT count(*) FROM information_schema.schemata WHERE schema_name = 'mcp'")
    if gone.strip() != "0":
        raise Failure("the schema is still there")
    compose("stop", "etcd")
    # Wipes etcd's volume but for the snapshot, and makes its data anew from that.
    docker("run", "--rm", "--volume", f"{PROJECT}_etcd-data:/etcd-data", "--entrypoint", "sh", "quay.io/coreos/etcd:v3.5.21", "-c",
           "mv /etcd-data/backup.db /tmp/ && rm -rf /etcd-data/member && ETCDCTL_API=3 etcdctl snapshot restore /tmp/backup.db --name=etcd "
           "--initial-cluster=etcd=http://localhost:2380 --initial-advertise-peer-urls=http://localhost:2380 --data-dir=/tmp/new && mv /tmp/new/member /etcd-data/")
    compose("start", "etcd")
    healthy("etcd")
    subprocess.run(["docker", "exec", "--interactive", postgres, "pg_restore", "--username=mcp", "--dbname=mcp"], input=dump, capture_output=True, check=True)
    compose("start", *reversed(services))
    for service in services:
        healthy(service)

    eventually("the gateway answers", lambda: http("GET", f"{GATEWAY}/v1/tasks/{ids[0]}")[0] == 200)
    after = all_end_well(ids)
    changed = [task_id for task_id in ids if json.loads(before[task_id]) != json.loads(after[task_id])]
    if changed:
        raise Failure(f"{len(changed)} tasks are not as they were, first {before[changed[0]]} and now {after[changed[0]]}")
    found = sorted(key["id"] for key in get(f"{GATEWAY}/v1/keys")["keys"])
    if found != keys:
        raise Failure(f"keys were {keys} and are {found}")
    return len(after)
