#!/bin/sh
# The end-to-end test on a real Docker Engine: images, cluster, faults, telemetry, backup; before it the manifests on a real
# Kubernetes API server. Needs root on Debian; see scripts/e2e/images.sh for where images come from. `scripts/e2e.sh --keep`
# leaves the cluster running; names of steps (scripts/e2e/run.py) as further arguments run only those.
set -eu
cd "$(dirname "$0")/.."

work=${MCP_E2E_WORK:-$PWD/target/e2e}
mkdir -p "$work"
# A name of its own, so that a cluster of `make up` is left alone; but its ports have to be free.
export COMPOSE_PROJECT_NAME=mcp-e2e MCP_TRACES_DECISION_WAIT=3s MCP_E2E_WORK="$work"
daemon=

# shellcheck disable=SC2329 # called by the trap
clean_up() {
  status=$?
  trap - EXIT
  trap '' INT TERM
  if [ "${keep:-}" != 1 ]; then
    docker ps --all --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" >"$work/containers"
    xargs -r docker unpause <"$work/containers" >/dev/null 2>&1 || true
    xargs -r docker rm --force --volumes <"$work/containers" >/dev/null 2>&1 || true
    scripts/compose.sh down --volumes --remove-orphans >/dev/null 2>&1 || true
  fi
  if [ -n "$daemon" ] && [ "${keep:-}" != 1 ]; then
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
  fi
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

keep=
[ "${1:-}" != --keep ] || { keep=1 && shift; }

if ! docker info >/dev/null 2>&1; then
  command -v dockerd >/dev/null || { apt-get update --quiet --quiet && apt-get install --yes --quiet --quiet docker.io docker-compose >/dev/null; }
  echo "e2e: starting dockerd, with its data in $work/docker"
  dockerd --data-root "$work/docker" --exec-root "$work/docker-run" --pidfile "$work/dockerd.pid" >"$work/dockerd.log" 2>&1 &
  daemon=$!
  tries=0
  until docker info >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -le 60 ] || { echo "e2e: dockerd did not start:" >&2; tail -20 "$work/dockerd.log" >&2; exit 1; }
    sleep 1
  done
fi
scripts/e2e/images.sh
scripts/e2e/kubernetes.sh
echo "e2e: starting the cluster and its example job"
scripts/up.sh --no-build
python3 scripts/e2e/run.py "$@"
