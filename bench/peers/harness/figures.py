"""What is measured of a peer, and the file it goes to: a list of {name, value, unit, conditions}, like our own."""

import dataclasses
import enum
import json
import pathlib
import statistics

from peer import Variant

FILE = "peers.json"


class Metric(enum.Enum):
    """A figure: its name and unit, what it is, and our own figures that it is compared with.

    Ours of single submits and latency are on the embedded store, whichever store the peer has.
    """

    E2E_BATCH = ("e2e_batch", "1/s", "submit to done, in batches where the peer has them", ("e2e_batch_fjall", "e2e_batch_postgres"))
    SUBMIT_SINGLE = ("submit_single", "1/s", "single submits while a worker is at work", ("submit_single_fjall",))
    E2E_SINGLE = ("e2e_single", "1/s", "single submits, submit to done", ("e2e_single_fjall",))
    LATENCY_P50 = ("latency_200_p50", "ms", "", ("latency_200_p50",))
    LATENCY_P99 = ("latency_200_p99", "ms", "", ("latency_200_p99",))

    def __init__(self, label: str, unit: str, meaning: str, ours: tuple[str, ...]) -> None:
        self.label, self.unit, self.meaning, self.ours = label, unit, meaning, ours

    @property
    def more_is_better(self) -> bool:
        return self.unit == "1/s"


@dataclasses.dataclass
class Result:
    """What was measured of a variant, or why nothing was."""

    name: str
    variant: Variant | None = None
    values: dict[Metric, list[float]] = dataclasses.field(default_factory=dict)
    conditions: dict[Metric, str] = dataclasses.field(default_factory=dict)
    fault: str = ""

    def is_complete(self) -> bool:
        """Whether every figure was measured at least once."""
        return all(self.values.get(metric) for metric in Metric)

    def add(self, metric: Metric, value: float, conditions: str) -> None:
        """Adds the value of one repeat."""
        self.values.setdefault(metric, []).append(value)
        self.conditions[metric] = conditions

    def entries(self) -> list[dict]:
        """The medians as JSON; a figure that was not measured has no value, and its conditions say why."""
        return [self.entry(metric) for metric in Metric]

    def entry(self, metric: Metric) -> dict:
        values = self.values.get(metric)
        value, parts = None, [f"not measured: {self.fault}"]
        if values:
            value = statistics.median(values)
            spread = f"median of {len(values)}, {min(values):.2f} to {max(values):.2f}"
            parts = [self.conditions[metric], self.variant.configured, self.variant.store.about, spread]
        if self.variant:
            parts.insert(0, f"{self.variant.library} {self.variant.version}")
        return {"name": f"{self.name}/{metric.label}", "value": value, "unit": metric.unit, "conditions": "; ".join(parts)}

    def print(self) -> None:
        """Prints them as our own benchmark does."""
        for entry in self.entries():
            value = "-" if entry["value"] is None else f"{entry['value']:.2f}"
            print(f"{entry['name']:<40} {value:>12} {entry['unit']:<4} {entry['conditions']}", flush=True)
        if self.fault and self.is_complete():
            print(f"  {self.name}: {self.fault}", flush=True)


def write(folder: pathlib.Path, results: list[Result]) -> None:
    """All figures of the peers."""
    entries = [entry for result in results for entry in result.entries()]
    (folder / FILE).write_text(json.dumps(entries, indent=2) + "\n")
