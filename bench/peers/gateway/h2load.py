"""nghttp2's h2load: the same unary load once more, by a program that is not ours.

It counts answers with HTTP status 200 and does not look at `grpc-status`; that every answer is right, our own load says.
"""

import os
import pathlib
import re
import subprocess

import debian
from peer import Site
from process import Failed
from proxies import Endpoint
from system import SLACK_SECONDS

CONNECTIONS, STREAMS = 8, 8  # as our own
REQUESTS_A_SECOND = 40_000  # for each second that is to be measured so many are sent
TICKS = os.sysconf("SC_CLK_TCK")


class H2load:
    """The installed program."""

    def __init__(self, site: Site, message: pathlib.Path) -> None:
        self.programs = debian.packages(site, "h2load", ["nghttp2-client"])
        self.message = message

    def run(self, endpoint: Endpoint, path: str, seconds: float) -> dict:
        """What it saw, by the names of our own load."""
        requests = int(REQUESTS_A_SECOND * seconds)
        command = [self.programs.program("h2load"), "-t", "1", "-c", str(CONNECTIONS), "-m", str(STREAMS)]
        command += ["-d", str(self.message), "-H", "content-type: application/grpc", "-H", "te: trailers"]
        url = f"http://{endpoint.address}{path}"
        environment = os.environ | self.programs.environment
        for count in (requests // 10, requests):  # the first is the warm-up
            before = cpu(endpoint.pid)
            try:
                done = subprocess.run(
                    [*command, "-n", str(count), url], env=environment, capture_output=True, text=True,
                    timeout=seconds * 20 + SLACK_SECONDS,
                )
            except subprocess.TimeoutExpired:
                raise Failed(f"{endpoint.name}: h2load does not end") from None
        used = cpu(endpoint.pid) - before
        rate = re.search(r"([\d.]+) req/s", done.stdout)
        succeeded = re.search(r"(\d+) 2xx", done.stdout)
        if done.returncode != 0 or not rate or not succeeded or int(succeeded[1]) != requests:
            raise Failed(f"{endpoint.name}: h2load: {(done.stdout + done.stderr).strip()[-400:]}")
        return {"per_second": float(rate[1]), "cpu_per_100k": used * 1e5 / requests}


def cpu(pid: int) -> float:
    """Seconds of processor time of a process and its children."""
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    fields = text.rsplit(")", 1)[1].split()
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return (int(fields[11]) + int(fields[12])) / TICKS + sum(cpu(int(child)) for child in children)
