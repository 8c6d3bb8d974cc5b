"""Results, the file they go to, and the table with ratios."""

import dataclasses
import enum
import json
import statistics

from ours import Summary
from peer import Site, Variant

UNITS = {"rate": "1/s", "time": "ms"}


class Metric(enum.Enum):
    """A figure: its name, what it is, and our own figures that it is compared with."""

    E2E_BATCH = ("e2e_batch", "rate", "bulk submit, first submit to last completion on record", ("e2e_batch_fjall", "e2e_batch_postgres"))
    SUBMIT_SINGLE = ("submit_single", "rate", "single submits, a worker at work", ("submit_single_fjall",))
    E2E_SINGLE = ("e2e_single", "rate", "single submits, first submit to last completion on record", ("e2e_single_fjall",))
    # Ours is measured with a worker at work only, so this ratio flatters the peer.
    SUBMIT_SINGLE_IDLE = ("submit_single_idle", "rate", "single submits, no worker", ("submit_single_fjall",))
    # Ours ends when the submitter has been told that the task is durably done, theirs when the handler ends.
    LATENCY_P50 = ("latency_200_p50", "time", "submit to end of the handler", ("latency_200_p50",))
    LATENCY_P99 = ("latency_200_p99", "time", "submit to end of the handler", ("latency_200_p99",))

    def __init__(self, label: str, kind: str, meaning: str, ours: tuple[str, ...]) -> None:
        self.label, self.kind, self.meaning, self.ours = label, kind, meaning, ours

    @property
    def unit(self) -> str:
        return UNITS[self.kind]


@dataclasses.dataclass
class Result:
    """What was measured of a variant, or why nothing was."""

    variant: Variant | None
    peer: str = ""
    values: dict[Metric, list[float]] = dataclasses.field(default_factory=dict)
    conditions: dict[Metric, str] = dataclasses.field(default_factory=dict)
    faults: list[str] = dataclasses.field(default_factory=list)

    @classmethod
    def unavailable(cls, peer: str, reason: str) -> "Result":
        return cls(None, peer, faults=[reason])

    @property
    def name(self) -> str:
        return self.variant.peer if self.variant else self.peer

    @property
    def complete(self) -> bool:
        """Whether every figure was measured at least once."""
        return self.variant is not None and all(self.values.get(metric) for metric in Metric)

    def add(self, metric: Metric, value: float, conditions: str) -> None:
        """Adds the value of one repeat."""
        self.values.setdefault(metric, []).append(value)
        self.conditions[metric] = conditions

    def entries(self) -> list[dict]:
        """The medians as JSON."""
        if not self.variant:
            return [entry(self.peer, "", "unavailable", None, "", self.faults[0])]
        found = []
        for metric, values in self.values.items():
            spread = f"median of {len(values)}, {min(values):.2f} to {max(values):.2f}"
            store = f"{self.variant.store.server} {self.variant.store.durability}"
            parts = [metric.meaning, self.conditions[metric], store, self.variant.configured, spread, *self.faults]
            value = statistics.median(values)
            name = f"{self.name} ({self.variant.label})" if self.variant.label else self.name
            found.append(entry(name, self.variant.version, metric.label, value, metric.unit, "; ".join(parts)))
        if not self.complete:
            found.append(entry(self.name, self.variant.version, "incomplete", None, "", "; ".join(self.faults)))
        return found


def entry(system: str, version: str, metric: str, value: float | None, unit: str, conditions: str) -> dict:
    return {"system": system, "version": version, "metric": metric, "value": value, "unit": unit, "conditions": conditions}


def write_json(site: Site, own: Summary, results: list[Result]) -> None:
    """All figures, ours too, into peers.json beside our own summary."""
    entries = [
        entry("mcp", "", name, figure["value"], figure["unit"], figure["conditions"]) for name, figure in own.figures.items()
    ]
    for result in results:
        entries += result.entries()
    path = site.build.parent / "peers.json"
    path.write_text(json.dumps(entries, indent=2) + "\n")


def print_tables(own: Summary, results: list[Result]) -> None:
    """A table of all figures and ratios, then what went wrong."""
    heads = ["system", "store", "figure", "unit", "theirs", "spread", "ours", "ours/theirs", ""]
    rows = [row for result in results if result.variant for row in result_rows(own, result)]
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
    print()
    for row in [heads, ["-" * width for width in widths], *rows]:
        cells = [cell.rjust(width) if 4 <= at <= 7 else cell.ljust(width) for at, (cell, width) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())
    print("\nThroughput: above 1 we are faster. Latency: below 1 we are faster.")
    for metric in Metric:
        print(f"  {metric.label}: {metric.meaning}")
    for result in results:
        for fault in result.faults:
            kind = "NOTE" if result.complete else "UNAVAILABLE" if not result.variant else "INCOMPLETE"
            print(f"{kind} {result.variant.title if result.variant else result.name}: {fault}")


def result_rows(own: Summary, result: Result) -> list[list[str]]:
    variant = result.variant
    system = f"{variant.peer} {variant.version}" + (f", {variant.label}" if variant.label else "")
    rows = []
    for metric in Metric:
        values = result.values.get(metric)
        if not values:
            rows.append([system, variant.store.durability, metric.label, metric.unit, "not measured", "", "", "", ""])
            continue
        theirs = statistics.median(values)
        spread = f"{number(min(values))} to {number(max(values))}"
        for name in metric.ours:
            mine = own.value(name)
            if mine is None and name != metric.ours[0]:
                continue
            rows.append(
                [system, variant.store.durability, metric.label, metric.unit, number(theirs), spread]
                + ["-" if mine is None else number(mine), "-" if mine is None else f"{mine / theirs:.2f}", verdict(metric, name, mine, theirs)]
            )
    return rows


def verdict(metric: Metric, name: str, mine: float | None, theirs: float) -> str:
    """Who leads, by which of our figures."""
    if mine is None:
        return f"no {name}"
    factor = mine / theirs if metric.kind == "rate" else theirs / mine
    return f"{'ours' if factor >= 1 else 'theirs'} by {max(factor, 1 / factor):.1f}x ({name})"


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
