"""Debian packages below the build folder: nothing is installed on the machine, and no service starts."""

import os
import pathlib
import shutil
import subprocess

import install
from peer import Site, Unavailable

DOWNLOAD_SECONDS = 600  # until apt-get or dpkg-deb is given up


class Programs:
    """Unpacked packages."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        libraries = {str(path.parent) for folder in ("usr/lib", "lib") for path in (root / folder).rglob("*.so*")}
        self.environment = {"LD_LIBRARY_PATH": ":".join(sorted(libraries))} if libraries else {}

    def program(self, name: str) -> str:
        """The path of a program, unpacked or of the machine."""
        for folder in ("usr/sbin", "usr/bin", "sbin", "bin"):
            path = self.root / folder / name
            if path.exists():
                return str(path)
        found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if found is None:
            raise Unavailable(f"the package has no program `{name}`")
        return found


def packages(site: Site, name: str, wanted: list[str]) -> Programs:
    """Downloads packages with what they need and this machine lacks, and unpacks them."""
    root = site.build / f"debian-{name}"
    stamp = install.Stamp(root, " ".join(wanted))
    if not stamp.is_valid():
        shutil.rmtree(root, ignore_errors=True)
        archives = root / "archives"
        (archives / "partial").mkdir(parents=True)
        if shutil.which("apt-get") is None:
            raise Unavailable(f"{name} comes from Debian, and there is no apt-get")
        download = ["apt-get", "--yes", "--quiet", "--no-install-recommends", "--download-only"]
        # A folder of its own, and no lock of the machine's: this also works without being root.
        download += ["-o", f"Dir::Cache::archives={archives}", "-o", "Debug::NoLocking=1", "install", *wanted]
        try:
            install.run(download, f"{name} from Debian")
        except Unavailable:
            # The lists of packages may be older than the archive; only root may renew them.
            install.run(["apt-get", "--quiet", "update"], "the lists of Debian's packages")
            install.run(download, f"{name} from Debian")
        for archive in sorted(archives.glob("*.deb")):
            unpack(archive, root)
        shutil.rmtree(archives)
        stamp.set()
    return Programs(root)


def unpack(archive: pathlib.Path, root: pathlib.Path) -> None:
    try:
        subprocess.run(["dpkg-deb", "--extract", str(archive), str(root)], check=True, timeout=DOWNLOAD_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"cannot unpack {archive.name}: {error}") from error


def output(command: list[str], environment: dict[str, str]) -> str:
    """What a program prints, on either stream."""
    done = subprocess.run(
        command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30
    )
    if done.returncode != 0:
        raise Unavailable(f"`{' '.join(command)}` fails: {done.stdout.strip()}")
    return done.stdout
