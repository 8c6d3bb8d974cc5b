"""Our own figures: the list that `make bench` leaves behind."""

import dataclasses
import json
import os
import time

from peer import Site


@dataclasses.dataclass(frozen=True)
class Summary:
    """Figures by name, and where they come from."""

    figures: dict[str, dict]
    origin: str

    @classmethod
    def read(cls, site: Site) -> "Summary":
        path = site.build.parent / "summary.json"
        if not path.exists():
            return cls({}, f"no {path}, hence no ratios")
        age = (time.time() - path.stat().st_mtime) / 60
        skipped = " (MCP_BENCH_SKIP=1: not of this run, ratios are a hint at best)" if os.environ.get("MCP_BENCH_SKIP") == "1" else ""
        figures = {figure["name"]: figure for figure in json.loads(path.read_text())}
        return cls(figures, f"{path.name}, written {age:.0f} minutes ago{skipped}")

    def value(self, name: str) -> float | None:
        """A figure, or None when it was not measured."""
        return self.figures[name]["value"] if name in self.figures else None
