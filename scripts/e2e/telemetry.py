"""Reads back from Jaeger, Prometheus and the logs what the cluster told of itself."""

import json
import pathlib

from cluster import GATEWAY, JAEGER, PROMETHEUS, Failure, address, compose, containers, docker, eventually, get, http
from load import all_end_well
from urllib.parse import quote

DASHBOARDS = pathlib.Path("deploy/grafana/dashboards")
# Instances of each scraped service.
TARGETS = {"gateway": 1, "registry": 1, "scheduler": 2, "worker": 2, "etcd": 1, "otel-collector": 1, "otlp": 1}


def submit(argv, **fields):
    """A task's id and the id of its trace."""
    status, headers, text = http("POST", f"{GATEWAY}/v1/tasks", {"process": {"argv": argv}, **fields})
    if status != 200:
        raise Failure(f"submit: {status} {text}")
    return json.loads(text)["taskId"], headers["x-trace-id"]


def trace(trace_id):
    """The spans of a trace by id, each with its service; none when Jaeger does not know it."""
    status, _, text = http("GET", f"{JAEGER}/api/traces/{trace_id}")
    data = json.loads(text).get("data") if status == 200 else None
    if not data:
        return {}
    spans = {}
    for span in data[0]["spans"]:
        parents = [reference["spanID"] for reference in span["references"] if reference["refType"] == "CHILD_OF"]
        spans[span["spanID"]] = {
            "name": span["operationName"], "service": data[0]["processes"][span["processID"]]["serviceName"],
            "parent": parents[0] if parents else None, "tags": {tag["key"]: tag["value"] for tag in span["tags"]},
        }
    return spans


def the_trace_is_whole():
    """From the process up to the caller: each span's parent is the one before, with the right services and attributes."""
    task_id, trace_id = submit(["sh", "-c", "echo traced"])
    all_end_well([task_id])
    # The gateway has two: of its call to the scheduler, and of the request that it serves.
    call = "mcp.scheduler.v1.TaskService/SubmitTask"
    expected = [("worker", "process"), ("worker", "task.attempt"), ("scheduler", call), ("gateway", call), ("gateway", "POST /v1/tasks")]

    def chain():
        spans = trace(trace_id)
        found, at = [], next((span for span in spans.values() if span["name"] == "process"), None)
        while at:
            found.append(at)
            at = spans.get(at["parent"])
        return found if len(found) == len(expected) else None
    found = eventually(f"trace {trace_id} is whole in Jaeger", chain)
    for span, (service, name) in zip(found, expected):
        if (span["service"], span["name"]) != (service, name):
            raise Failure(f"trace {trace_id}: {span} where {service} {name} was expected")
    process, attempt, request = found[0]["tags"], found[1]["tags"], found[4]["tags"]
    attributes = [process["mcp.task.id"], attempt["mcp.task.id"], attempt["mcp.queue"], request["http.response.status_code"], request["mcp.route"]]
    if attributes != [task_id, task_id, "default", 200, "default"] or found[4]["parent"]:
        raise Failure(f"trace {trace_id}: wrong attributes: {found}")
    return trace_id


def errors_are_always_kept():
    """With a share of nothing, a trace with an error is kept, and one without is not."""
    compose("up", "--detach", "--no-build", "--no-deps", "otel-collector", env={"MCP_TRACES_PERCENT": "0"})
    eventually("the collector is back", lambda: get(f"{PROMETHEUS}/api/v1/query?query=" + quote('up{job="otlp"} == 1'))["data"]["result"])
    good_id, good = submit(["true"])
    all_end_well([good_id])
    _, bad = submit(["sh", "-c", "exit 3"], retry={"maxAttempts": 1})
    eventually("the trace with an error is kept", lambda: any(span["tags"].get("error") for span in trace(bad).values()))
    if trace(good):
        raise Failure(f"trace {good} without an error was kept")
    compose("up", "--detach", "--no-build", "--no-deps", "otel-collector")


def logs_have_the_trace(trace_id):
    """The lines of the containers carry the id, and so does what reached the log store through the collector."""
    def container_lines():
        found = set()
        for service in ("gateway", "scheduler", "worker"):
            for container in containers(service):
                if trace_id in docker("logs", container, check=False) or trace_id in logs_of(container):
                    found.add(service)
        return found if "gateway" in found else None
    services = eventually("container logs carry the trace id", container_lines)
    loki = f"http://{address(containers('loki')[0])}:3100"
    query = quote(f'{{service_name=~".+"}} | trace_id="{trace_id}"')

    def stored():
        streams = get(f"{loki}/loki/api/v1/query_range?since=1h&query={query}")["data"]["result"]
        return services <= {stream["stream"]["service_name"] for stream in streams}
    eventually(f"Loki has lines of the trace from {services}", stored)
    return services


def logs_of(container):
    """Standard error of a container, where the log goes."""
    import subprocess
    return subprocess.run(["docker", "logs", container], capture_output=True, text=True).stderr


def targets_are_up(expected=None):
    def check():
        active = get(f"{PROMETHEUS}/api/v1/targets?state=active")["data"]["activeTargets"]
        up = {}
        for target in active:
            if target["health"] == "up":
                up[target["labels"]["job"]] = up.get(target["labels"]["job"], 0) + 1
        if up != (expected or TARGETS):
            raise Failure(f"targets up are {up}; of the others: {[(t['labels']['job'], t['lastError']) for t in active if t['health'] != 'up']}")
        return True
    eventually("every target is up", check)


def dashboards_have_data():
    """Every query of every dashboard returns something."""
    queries = 0
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                queries += 1
                expression = target["expr"]
                eventually(f"{path.stem}, {panel['title']}: {expression} has data", lambda: answered(expression), limit=90)
    return queries


def answered(expression):
    """What a query returns just after the registry, which nobody else calls, was called."""
    get(f"{GATEWAY}/v1/services")
    return get(f"{PROMETHEUS}/api/v1/query?query={quote(expression)}")["data"]["result"]


def alerts_are_loaded():
    """Every rule is evaluated without an error, and none of those that wake people fires while all is well."""
    def check():
        groups = get(f"{PROMETHEUS}/api/v1/rules")["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        wrong = [rule["name"] for rule in rules if rule["health"] != "ok"]
        firing = [rule["name"] for rule in rules if rule.get("state") == "firing" and rule["labels"].get("severity") == "page"]
        if wrong or firing or not rules:
            raise Failure(f"rules that fail: {wrong}, alerts that fire: {firing}")
        return len(rules)
    return eventually("alerts are evaluated, and none fires", check)
