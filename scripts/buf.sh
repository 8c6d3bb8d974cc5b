#!/bin/sh
# Runs buf on the .proto files: the one in PATH, else one installed from PyPI (buf-bin) into the target folder.
set -eu
cd "$(dirname "$0")/.."

if command -v buf >/dev/null 2>&1; then
  exec buf "$@"
fi
version=1.75.0
tools=${CARGO_TARGET_DIR:-target}/tools
if [ ! -x "$tools/bin/buf" ]; then
  if ! { python3 -m venv "$tools" && "$tools/bin/pip" install --quiet --disable-pip-version-check "buf-bin==$version"; }; then
    echo "buf: install buf (https://buf.build), or python3-venv and try again" >&2
    exit 1
  fi
fi
exec "$tools/bin/buf" "$@"
