#!/bin/sh
# Parses docker-compose.yml the way `docker compose` does; installs a parser when there is none.
set -eu
cd "$(dirname "$0")/.."
if docker compose version >/dev/null 2>&1; then
  exec docker compose config --quiet
fi
if ! command -v docker-compose >/dev/null 2>&1; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update --quiet --quiet && apt-get install --yes --quiet --quiet docker-compose >/dev/null
  else
    echo "compose-check: install docker-compose (Debian) or Docker's compose plugin, then run this again" >&2
    exit 1
  fi
fi
exec docker-compose config --quiet
