#!/bin/sh
# Runs Docker Compose, as Docker's plugin or as the program of its own that Debian ships.
set -eu
cd "$(dirname "$0")/.."
if docker compose version >/dev/null 2>&1; then
  exec docker compose "$@"
elif command -v docker-compose >/dev/null 2>&1; then
  exec docker-compose "$@"
fi
echo "compose: install Docker with its compose plugin, or Debian's docker-compose, and run this again" >&2
exit 1
