"""The loads, the ratios that come of them, and where these go."""

import dataclasses
import json
import pathlib
import statistics
import typing

FILE = "gateway.json"  # everything that was measured
SUMMARY = "summary.json"  # where the ratios join our own figures

Seen = dict[tuple[str, str], list[dict]]  # by load and proxy: what each repeat saw


@dataclasses.dataclass(frozen=True)
class Load:
    """A load, and whom it is for."""

    kind: str
    what: str
    names: tuple[str, ...]  # in the order of the first repeat


PROXIES = ("direct", "ours", "envoy", "haproxy", "nginx")
LOADS = (
    Load("unary", "unary gRPC of 100 B, 8 connections x 8 streams", PROXIES),
    Load("h2load", "the same by h2load", PROXIES),
    Load("paced", "unary gRPC at 5,000/s, open loop, 4 connections", PROXIES),
    Load("streams", "bidirectional gRPC, 64 streams x 1 message under way, 4 connections", PROXIES),
    Load("json", "POST of JSON over 64 connections of HTTP/1.1 to unary gRPC", ("ours", "envoy-json")),
)


@dataclasses.dataclass(frozen=True)
class Ratio:
    """A figure: ours by another's."""

    stem: str  # of its name: `STEM_vs_PROXY`
    load: str
    key: str  # of what the load saw
    must: float  # beside Envoy
    aim: float
    rivals: tuple[str, ...] = ("envoy", "haproxy", "nginx")
    above_direct: bool = False  # what the call takes without a proxy is taken off

    def of(self, seen: Seen, rival: str) -> float | None:
        """Ours by theirs, of the medians; nothing when one of them was not measured."""
        values = [self.value(seen, name) for name in ("ours", rival)]
        if None in values or values[1] <= 0:
            return None
        return values[0] / values[1]

    def value(self, seen: Seen, name: str) -> float | None:
        """The median over the repeats."""
        value = median(seen, self.load, name, self.key)
        if not self.above_direct or value is None:
            return value
        direct = median(seen, self.load, "direct", self.key)
        return None if direct is None else value - direct


RATIOS = (
    Ratio("proxy_unary", "unary", "per_second", 1.1, 1.4),
    Ratio("proxy_cpu", "unary", "cpu_per_100k", 0.85, 0.6),
    Ratio("proxy_unary_h2load", "h2load", "per_second", 1.1, 1.4),
    Ratio("proxy_cpu_h2load", "h2load", "cpu_per_100k", 0.85, 0.6),
    Ratio("proxy_p50_added", "paced", "p50", 0.8, 0.5, above_direct=True),
    Ratio("proxy_stream_msgs", "streams", "per_second", 0.9, 1.1),
    Ratio("transcode", "json", "per_second", 1.1, 1.6, ("envoy-json",)),
)


def median(seen: Seen, load: str, name: str, key: str) -> float | None:
    values = [report[key] for report in seen.get((load, name), []) if report.get(key) is not None]
    return statistics.median(values) if values else None


def figures(seen: Seen, about: str) -> list[dict]:
    """The ratios as JSON, in the form of our own figures."""
    found = []
    what = {load.kind: load.what for load in LOADS}
    for ratio in RATIOS:
        for rival in ratio.rivals:
            value = ratio.of(seen, rival)
            if value is None:
                continue
            mine, theirs = ratio.value(seen, "ours"), ratio.value(seen, rival)
            repeats = len(seen[ratio.load, "ours"])
            conditions = f"{what[ratio.load]}: {mine:.2f} / {theirs:.2f}, medians of {repeats}; {about}"
            name = f"{ratio.stem}_vs_{rival.removesuffix('-json')}"
            found.append({"name": name, "value": value, "unit": "", "conditions": conditions})
    return found


def join(folder: pathlib.Path, found: list[dict]) -> None:
    """Writes ratios into the summary, beside what is there."""
    path = folder / SUMMARY
    present = json.loads(path.read_text()) if path.exists() else []
    names = {figure["name"] for figure in found}
    kept = [figure for figure in present if figure["name"] not in names]
    path.write_text(json.dumps(kept + found, indent=2) + "\n")


def write(folder: pathlib.Path, seen: Seen) -> None:
    """Writes everything that was seen."""
    entries = [{"load": load, "proxy": name, "repeats": reports} for (load, name), reports in seen.items()]
    (folder / FILE).write_text(json.dumps(entries, indent=2) + "\n")


def print_all(seen: Seen, found: list[dict]) -> None:
    """A table for each load, then the ratios."""
    columns: dict[str, typing.Callable[[dict], str]] = {
        "1/s": lambda row: f"{row['per_second']:,.0f}",
        "proxy CPU s/100k": lambda row: f"{row['cpu_per_100k']:.2f}",
        "p50 us": lambda row: f"{row['p50']:.0f}",
        "p99 us": lambda row: f"{row['p99']:.0f}",
        "RSS MiB": lambda row: f"{row['resident_mib']:.0f}",
    }
    keys = ("per_second", "cpu_per_100k", "p50", "p99", "resident_mib")
    for load in LOADS:
        if not any((load.kind, name) in seen for name in load.names):
            continue
        print(f"\n{load.what}")
        print(f"  {'':<12}" + "".join(f"{column:>18}" for column in columns))
        for name in load.names:
            row = {key: median(seen, load.kind, name, key) for key in keys}
            if row["per_second"] is None:
                continue
            cells = [show(row) if row[key] is not None else "-" for key, show in zip(keys, columns.values())]
            print(f"  {name:<12}" + "".join(f"{cell:>18}" for cell in cells))
    print()
    bounds = {f"{ratio.stem}_vs_envoy": f"must {ratio.must:g}, aim {ratio.aim:g}" for ratio in RATIOS}
    for figure in found:
        bound = bounds.get(figure["name"], "")
        print(f"{figure['name']:<34} {figure['value']:>6.2f}  {bound:<20} {figure['conditions'].split(';')[0]}")
