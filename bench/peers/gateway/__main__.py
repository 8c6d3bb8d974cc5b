"""Measures our gateway beside Envoy, HAProxy and nginx, and prints how ours compares. Called by ../run.sh.

One backend, one load, two threads each, by turns: every repeat goes through all proxies, every second one backwards. An
argument names the loads or figures to measure: whatever has it in its name. MCP_BENCH_GATEWAYS names the proxies.
Exit status 0: everything was measured. 1: something was not; what and why is printed.
"""

import contextlib
import os
import pathlib
import signal
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "harness"))

import compare  # noqa: E402
import h2load  # noqa: E402
import proxies  # noqa: E402
import system  # noqa: E402
from peer import Site, Unavailable  # noqa: E402
from process import Failed  # noqa: E402

UNARY_PATH = "/bench.v1.EchoService/Echo"


def main() -> int:
    # So that `finally` blocks run, and proxies are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    site = Site.from_environment()
    loads = chosen(sys.argv[1] if len(sys.argv) > 1 else "")
    only = os.environ.get("MCP_BENCH_GATEWAYS", "").split()
    needed = {name for load in loads for name in load.names}
    wanted = [name for name in proxies.ALL if name in needed and (not only or name.removesuffix("-json") in only)]
    try:
        programs = system.Programs(site)
    except Unavailable as reason:
        print(f"ours is unavailable: {reason}", flush=True)
        return 1
    installed, faults = proxies.install_all(site, wanted)
    tool = None
    if any(load.kind == "h2load" for load in loads):
        try:
            tool = h2load.H2load(site, message(programs, site.data))
        except Unavailable as reason:
            print(f"h2load is unavailable: {reason}", flush=True)
            faults["h2load"] = str(reason)
    seen = measure(site, programs, installed, tool, loads, faults)
    about = conditions(installed)
    found = compare.figures(seen, about)
    compare.write(site.results, seen)
    compare.join(site.results, found)
    compare.print_all(seen, found)
    print(f"\nConditions: {about}")
    for name, fault in faults.items():
        print(f"not or not wholly measured: {name}: {fault}")
    return 1 if faults else 0


def chosen(text: str) -> list[compare.Load]:
    """The loads whose name, or the name of one of whose figures, has the text in it."""
    named = {ratio.load for ratio in compare.RATIOS if text in f"{ratio.stem}_vs_envoy"}
    found = [load for load in compare.LOADS if load.kind in named or text in load.kind]
    if not found:
        raise SystemExit(f"no load or figure has `{text}` in its name")
    return found


def measure(
    site: Site,
    programs: system.Programs,
    installed: dict[str, proxies.Program],
    tool: h2load.H2load | None,
    loads: list[compare.Load],
    faults: dict[str, str],
) -> compare.Seen:
    """All repeats of all loads. What fails is told in `faults`, and not measured again."""
    repeats, seconds = number("MCP_BENCH_REPEATS", 3), number("MCP_BENCH_SECONDS", 5)
    seen: compare.Seen = {}
    with contextlib.ExitStack() as stack:
        ours = system.System(site, programs)
        stack.callback(ours.stop)
        endpoints = {"ours": ours.ours, "direct": ours.direct}
        descriptors = system.descriptors(programs, site.data)
        for name, program in installed.items():
            try:
                proxy = proxies.Proxy(site, name, program, ours.direct.address, descriptors)
                stack.callback(proxy.process.stop)
                endpoints[name] = proxy.endpoint
            except Failed as fault:
                faults[name] = str(fault)
        for repeat in range(repeats):
            for load in loads:
                if load.kind == "h2load" and tool is None:
                    continue
                names = [name for name in load.names if name in endpoints]
                for name in names if repeat % 2 == 0 else reversed(names):
                    key = f"{name} ({load.kind})"
                    if key in faults:
                        continue
                    try:
                        if load.kind == "h2load":
                            report = tool.run(endpoints[name], UNARY_PATH, seconds)
                        else:
                            report = system.load(programs, load.kind, endpoints[name], seconds)
                        seen.setdefault((load.kind, name), []).append(report)
                        print(f"{repeat + 1}/{repeats} {load.kind:<8} {name:<12} {report['per_second']:>10,.0f}/s", flush=True)
                    except Failed as fault:
                        print(f"{repeat + 1}/{repeats} {load.kind:<8} {name:<12} failed: {fault}", flush=True)
                        faults[key] = str(fault)
    return seen


def message(programs: system.Programs, folder: pathlib.Path) -> pathlib.Path:
    """The request of the unary load, for h2load."""
    path = folder / "message"
    path.write_bytes(system.printed(programs, "message"))
    return path


def number(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdigit() or int(text) == 0:
        raise SystemExit(f"{name}: `{text}` is not a number above 0")
    return int(text)


def conditions(installed: dict[str, proxies.Program]) -> str:
    """What the figures hold for."""
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    versions = ", ".join(sorted({program.version for program in installed.values()}))
    return f"{os.cpu_count()} cores, load, proxy and backend on this machine (load average at the end {load}); {versions}"


if __name__ == "__main__":
    sys.exit(main())
