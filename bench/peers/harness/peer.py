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
    build: pathlib.Path  # what is installed
    results: pathlib.Path  # where the figures go
    data: pathlib.Path  # logs and other files of this run; thrown away
    redis_port: str | None
    redis_about: str  # version and settings, as the server says them
    postgres_url: str | None
    postgres_about: str

    @classmethod
    def from_environment(cls) -> "Site":
        env = os.environ
        return cls(
            here=pathlib.Path(__file__).resolve().parent.parent,
            build=pathlib.Path(env["PEERS_BUILD"]),
            results=pathlib.Path(env["PEERS_RESULTS"]),
            data=pathlib.Path(env.get("PEERS_DATA", "")),
            redis_port=env.get("PEERS_REDIS_PORT"),
            redis_about=env.get("PEERS_REDIS_ABOUT", ""),
            postgres_url=env.get("PEERS_POSTGRES"),
            postgres_about=env.get("PEERS_POSTGRES_ABOUT", ""),
        )

    def redis(self) -> "Store":
        """Redis."""
        if not self.redis_port:
            raise Unavailable("redis-server is not installed or does not start")
        return Store(self.redis_about, {"PEER_REDIS_PORT": self.redis_port})

    def postgresql(self) -> "Store":
        """PostgreSQL."""
        if not self.postgres_url:
            raise Unavailable("postgresql is not installed or does not start")
        return Store(self.postgres_about, {"PEER_POSTGRES": self.postgres_url})

    def servers(self) -> list[str]:
        """The servers that run, for people."""
        return [about for about in (self.redis_about, self.postgres_about) if about]


@dataclasses.dataclass(frozen=True)
class Store:
    """Where a peer keeps its tasks."""

    about: str  # its version and how durable it is
    environment: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to run a peer."""

    name: str  # that of its figures
    library: str  # what is measured
    version: str
    store: Store
    driver: list[str]  # the command of the submitter, see process.py
    worker: list[str]  # the command of the worker
    configured: str  # workers, concurrency, ...: what a reader needs to judge the figures
    latency_end: str  # what the latencies are taken to; ours is: the completion is durable and the submitter knows
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    in_flight: int = 64  # single submits under way at once, as for ours


Variants = typing.Callable[[Site], list[Variant]]


def find(here: pathlib.Path, only: str, default: tuple[str, ...]) -> dict[str, Variants]:
    """The peers named in `only`, separated by spaces; `all` are all, and nothing is the default."""
    found: dict[str, Variants] = {}
    for path in sorted(here.glob("*/peer.py")):
        if path.parent.name != "harness":
            found |= load(path).PEERS
    wanted = list(found) if only == "all" else only.split() or default
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
