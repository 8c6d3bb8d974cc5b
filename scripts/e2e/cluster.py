"""The cluster under test: containers, HTTP, waiting."""

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request

PROJECT = os.environ.get("COMPOSE_PROJECT_NAME", "mcp-e2e")
KEY = os.environ.get("MCP_BOOTSTRAP_KEY", "compose-on-this-machine-only-0123456789")
GATEWAY = f"http://127.0.0.1:{os.environ.get('MCP_GATEWAY_PORT', '8080')}"
JAEGER = "http://127.0.0.1:16686"
PROMETHEUS = "http://127.0.0.1:9090"
# Longest time that anything here may take to come about. Machines of CI are slow.
LIMIT = float(os.environ.get("MCP_E2E_LIMIT", "180"))
# Longest time for one HTTP call.
CALL_LIMIT = 30.0


class Failure(Exception):
    """What was expected did not happen."""


def run(*command, check=True, stdin=None, env=None):
    """What a command printed. With `check`, it must succeed."""
    done = subprocess.run(command, capture_output=True, text=isinstance(stdin, str) or stdin is None, input=stdin,
                          env={**os.environ, **(env or {})}, timeout=LIMIT * 3)
    if check and done.returncode != 0:
        raise Failure(f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def docker(*arguments, **options):
    return run("docker", *arguments, **options)


def compose(*arguments, **options):
    return run("scripts/compose.sh", *arguments, **options)


def containers(service):
    """Ids of a service's containers, those that were made to be replaced included."""
    labels = [f"label=com.docker.compose.project={PROJECT}", f"label=com.docker.compose.service={service}"]
    filters = [word for label in labels for word in ("--filter", label)]
    return sorted(docker("ps", "--all", "--quiet", *filters).split())


def inspect(container):
    return json.loads(docker("inspect", container))[0]


def address(container):
    """Its address in the cluster's network, or None when it is cut off."""
    return inspect(container)["NetworkSettings"]["Networks"].get(f"{PROJECT}_mcp", {}).get("IPAddress") or None


def is_healthy(container):
    state = inspect(container)["State"]
    return state["Running"] and not state["Paused"] and state.get("Health", {}).get("Status", "healthy") == "healthy"


def eventually(what, check, limit=LIMIT):
    """What `check` returns once it is true; it may raise until then."""
    end = time.monotonic() + limit
    while True:
        try:
            found = check()
            if found:
                return found
            last = found
        except (Failure, OSError, KeyError, IndexError, ValueError) as error:
            last = error
        if time.monotonic() > end:
            raise Failure(f"{what}: not within {limit:.0f} s: {last}")
        time.sleep(0.5)


def healthy(service, count=None):
    """Waits until every container of a service is healthy."""
    def check():
        found = containers(service)
        return (count is None or len(found) == count) and all(map(is_healthy, found))
    eventually(f"{service} is healthy", check)


def http(method, url, body=None, headers=None, limit=CALL_LIMIT):
    """Status, headers, and body as text. Only a broken connection raises."""
    request = urllib.request.Request(url, method=method, headers={"authorization": f"Bearer {KEY}", **(headers or {})})
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("content-type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=limit) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()
    except (urllib.error.URLError, socket.timeout, ConnectionError) as error:
        raise OSError(f"{method} {url}: {error}") from error


def get(url):
    """A JSON answer that must be 200."""
    status, _, text = http("GET", url)
    if status != 200:
        raise Failure(f"GET {url}: {status} {text[:500]}")
    return json.loads(text)
