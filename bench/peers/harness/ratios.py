"""The last step: our figures by those of the peers, from the two files that a run leaves behind."""

import json
import pathlib

import figures
import ours

STARTED = "peers-started"  # touched when a run starts, so that files of an earlier one are recognised


def start_run(folder: pathlib.Path) -> None:
    """From here on files are those of this run."""
    (folder / STARTED).touch()


def print_all(folder: pathlib.Path) -> None:
    """Prints a table with a row for each figure of a peer and each of ours that it can be compared with."""
    theirs, mine = read(folder, figures.FILE), read(folder, ours.FILE)
    heads = ["peer", "figure", "unit", "theirs", "ours", "ours/theirs", ""]
    table = [heads, *rows(theirs, mine)]
    widths = [max(len(row[column]) for row in table) for column in range(len(heads))]
    for row in table:
        cells = [cell.rjust(width) if 3 <= at <= 5 else cell.ljust(width) for at, (cell, width) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())
    print("\n1/s: above 1 we are faster. ms: below 1 we are faster; theirs may end before a completion is on record, see conditions.")


def read(folder: pathlib.Path, file: str) -> dict[str, dict]:
    """Figures by name. What is not of the last run is said, for it compares badly."""
    path = folder / file
    if not path.exists():
        print(f"There is no {path}.")
        return {}
    started = folder / STARTED
    if not started.exists() or path.stat().st_mtime < started.stat().st_mtime:
        print(f"CAUTION: {path} is not of the last run, so the ratios are a hint at best.")
    return {figure["name"]: figure for figure in json.loads(path.read_text())}


def rows(theirs: dict[str, dict], mine: dict[str, dict]) -> list[list[str]]:
    """The table's rows."""
    metrics = {metric.label: metric for metric in figures.Metric}
    found = []
    for name, figure in theirs.items():
        peer, label = name.split("/")
        metric = metrics[label]
        if figure["value"] is None:
            found.append([peer, label, figure["unit"], "-", "", "", "not measured"])
            continue
        for our_name in metric.ours:
            found.append([peer, label, figure["unit"], *compare(metric, figure["value"], our_name, mine)])
    return found


def compare(metric: figures.Metric, value: float, our_name: str, mine: dict[str, dict]) -> list[str]:
    """Theirs, ours, the ratio and who leads."""
    if our_name not in mine:
        return [number(value), "-", "-", f"{our_name} was not measured"]
    our_value = mine[our_name]["value"]
    factor = our_value / value if metric.more_is_better else value / our_value
    leader = f"ours by {factor:.1f}x" if factor >= 1 else f"theirs by {1 / factor:.1f}x"
    return [number(value), number(our_value), ratio(our_value / value), f"{leader} ({our_name})"]


def ratio(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
