"""Our side: the gateway as shipped, the backend that all proxies have, and the load."""

import json
import os
import pathlib
import select
import subprocess

import install
from peer import Site
from process import Failed, Process
from proxies import Endpoint

START_SECONDS = 120  # until etcd, backend and gateway that do not answer are given up
SLACK_SECONDS = 60  # beside the measured time, until a load is given up


class Programs:
    """Our programs, built for release. MCP_BENCH_GATEWAY names another gateway to measure: `mcp` or `mcp-gateway`."""

    def __init__(self, site: Site) -> None:
        root = site.here.parent.parent
        release = root / os.environ.get("CARGO_TARGET_DIR", "target") / "release"
        named = os.environ.get("MCP_BENCH_GATEWAY")
        packages = ["gateway-bench"] if named else ["gateway-bench", "mcp"]
        if os.environ.get("MCP_BENCH_BUILT") != "1":
            build = ["cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", str(root / "Cargo.toml")]
            install.run([*build, *(f"--package={package}" for package in packages)], "ours with cargo")
        self.bench = str(release / "gateway-bench")
        self.gateway = named or str(release / "mcp")


class System:
    """Our gateway, etcd, a receiver of its traces, and the backend, which the other proxies have, too."""

    def __init__(self, site: Site, programs: Programs) -> None:
        command = [programs.bench, "system", "--program", programs.gateway]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = Process(command, {}, site.data / "ours.log", site.data, **pipes)
        if not select.select([self.process.child.stdout], [], [], START_SECONDS)[0]:
            self.process.stop()
            raise Failed(f"ours does not start:{self.process.tail()}")
        line = self.process.child.stdout.readline()
        if not line:
            self.process.stop()
            raise Failed(f"ours does not start:{self.process.tail()}")
        about = json.loads(line)
        self.ours = Endpoint("ours", "as shipped", about["gateway"], about["gateway_pid"])
        self.direct = Endpoint("direct", "no proxy", about["backend"], about["backend_pid"])

    def stop(self) -> None:
        """It stops what it started when its input ends."""
        self.process.child.stdin.close()
        try:
            self.process.child.wait(10)
        except subprocess.TimeoutExpired:
            pass
        self.process.child.stdin = None
        self.process.stop()


def descriptors(programs: Programs, folder: pathlib.Path) -> pathlib.Path:
    """The backend's contract, for who must be told."""
    path = folder / "echo.pb"
    path.write_bytes(printed(programs, "descriptors"))
    return path


def printed(programs: Programs, what: str) -> bytes:
    """What our program prints."""
    return subprocess.run([programs.bench, what], stdout=subprocess.PIPE, check=True, timeout=30).stdout


def load(programs: Programs, kind: str, endpoint: Endpoint, seconds: float) -> dict:
    """What the load saw."""
    command = [programs.bench, "load", kind, "--address", endpoint.address, "--pid", str(endpoint.pid)]
    command += ["--seconds", str(seconds)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + SLACK_SECONDS)
    except subprocess.TimeoutExpired:
        raise Failed(f"{endpoint.name}: the load `{kind}` does not end") from None
    if done.returncode != 0:
        raise Failed(f"{endpoint.name}: the load `{kind}` failed: {done.stderr.strip()}")
    return json.loads(done.stdout)
