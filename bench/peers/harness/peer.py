"""What a peer is: something in a folder beside this one whose `peer.py` installs it and names its variants.

Such a `peer.py` has `PEERS`: for each name a function of the `Site` that installs the peer and returns a list of `Variant`,
or raises `Unavailable` with the reason. Its docstring says what is configured, and why that is fair.
"""

import dataclasses
import importlib.util
import os
import pathlib
import types
import typing


class Unavailable(Exception):
    """This peer cannot be measured here; the text says why."""


@dataclasses.dataclass(frozen=True)
class Site:
    """Where things are, and which servers run."""

    here: pathlib.Path  # bench/peers
    build: pathlib.Path  # what is installed, and where the results go
    data: pathlib.Path  # logs and other files of this run; thrown away
    redis_ports: dict[str, int]  # appendfsync -> port
    redis_version: str
    postgres: str | None  # its URL
    postgres_version: str

    @classmethod
    def from_environment(cls) -> "Site":
        env = os.environ
        ports = {"always": env.get("PEERS_REDIS_ALWAYS"), "everysec": env.get("PEERS_REDIS_EVERYSEC")}
        return cls(
            here=pathlib.Path(__file__).resolve().parent.parent,
            build=pathlib.Path(env["PEERS_BUILD"]),
            data=pathlib.Path(env["PEERS_DATA"]),
            redis_ports={mode: int(port) for mode, port in ports.items() if port},
            redis_version=env.get("PEERS_REDIS_VERSION", ""),
            postgres=env.get("PEERS_POSTGRES"),
            postgres_version=env.get("PEERS_POSTGRES_VERSION", ""),
        )

    def redis(self) -> list["Store"]:
        """Redis with each of its two durability settings, the durable one first."""
        if len(self.redis_ports) < 2:
            raise Unavailable("redis-server is not installed or does not start")
        return [
            Store(f"appendfsync {mode}", f"Redis {self.redis_version}", {"PEER_REDIS_PORT": str(port)})
            for mode, port in self.redis_ports.items()
        ]

    def postgresql(self) -> "Store":
        """PostgreSQL, durable."""
        if not self.postgres:
            raise Unavailable("postgresql is not installed or does not start")
        server = f"PostgreSQL {self.postgres_version}"
        return Store("synchronous_commit on", server, {"PEER_POSTGRES": self.postgres})


@dataclasses.dataclass(frozen=True)
class Store:
    """Where a peer keeps its tasks."""

    durability: str
    server: str
    environment: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to run a peer."""

    peer: str
    version: str
    store: Store
    driver: list[str]  # the command of the submitter, see process.py
    worker: list[str]  # the command of the worker
    configured: str  # workers, concurrency, ...: what a reader needs to judge the figures
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    label: str = ""  # tells variants on the same store apart
    batch_share: float = 1.0  # of the plan's tasks in batches; below 1 for slow peers
    single_share: float = 0.25  # of the plan's tasks one by one
    in_flight: int = 64  # single submits under way at once, as for ours

    @property
    def title(self) -> str:
        """For people: the peer, its store and what sets it apart."""
        label = f", {self.label}" if self.label else ""
        return f"{self.peer} {self.version}, {self.store.server} {self.store.durability}{label}"


Variants = typing.Callable[[Site], list[Variant]]


def find(here: pathlib.Path, only: str) -> dict[str, Variants]:
    """All peers, or those named in `only`, which are separated by spaces."""
    found: dict[str, Variants] = {}
    for path in sorted(here.glob("*/peer.py")):
        if path.parent.name != "harness":
            found |= load(path).PEERS
    wanted = only.split() or list(found)
    unknown = [name for name in wanted if name not in found]
    if unknown:
        raise SystemExit(f"MCP_BENCH_PEERS: no such peer: {', '.join(unknown)}; there are: {', '.join(found)}")
    return {name: found[name] for name in wanted}


def load(path: pathlib.Path) -> types.ModuleType:
    """A peer's module."""
    spec = importlib.util.spec_from_file_location(path.parent.name.replace("-", "_") + "_peer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
