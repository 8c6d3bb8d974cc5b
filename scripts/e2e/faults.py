"""What is done to the cluster while tasks come in."""

import os
import signal
import time

from cluster import PROJECT, address, compose, containers, docker, healthy, inspect

# How long a container stays paused or cut off: longer than the leases of 10 s.
AWAY_SECONDS = 15


def kill(service, index=0):
    """kill -9 of the program: no container is told, and the restart policy brings it back."""
    container = containers(service)[index]
    before = inspect(container)["RestartCount"]
    os.kill(inspect(container)["State"]["Pid"], signal.SIGKILL)
    while inspect(container)["RestartCount"] == before:
        time.sleep(0.5)
    healthy(service)


def pause(service):
    """Freezes the program beyond its lease: it comes back believing that nothing happened."""
    container = containers(service)[0]
    docker("pause", container)
    time.sleep(AWAY_SECONDS)
    docker("unpause", container)
    healthy(service)


def cut_off(service):
    """Takes the container off the network beyond its lease: it goes on, and reaches nobody."""
    container = containers(service)[0]
    network = f"{PROJECT}_mcp"
    docker("network", "disconnect", "--force", network, container)
    time.sleep(AWAY_SECONDS)
    docker("network", "connect", "--alias", service, network, container)
    healthy(service)


def restart(service):
    """An orderly restart of one container."""
    docker("restart", "--time", "60", containers(service)[0])
    healthy(service)


def roll(services):
    """Restarts every container of the services, one after the other, each only when the one before is healthy."""
    for service in services:
        for container in containers(service):
            docker("restart", "--time", "60", container)
            healthy(service)


def second_gateway():
    """A gateway beside the first, without its port. Its URL."""
    container = compose("run", "--detach", "--no-deps", "--name", f"{PROJECT}_gateway_second", "gateway").strip().splitlines()[-1]
    docker("update", "--restart", "unless-stopped", container)
    while not address(container):
        time.sleep(0.5)
    return container, f"http://{address(container)}:8080"
