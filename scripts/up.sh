#!/bin/sh
# Starts the cluster of docker-compose.yml, waits until every service is ready, prints where things are, and runs the
# example job through the gateway. `scripts/up.sh --no-build` takes the images as they are.
set -eu
cd "$(dirname "$0")/.."

# 300 s: the first start pulls images and makes tables.
wait_seconds=300

build=--build
[ "${1:-}" != --no-build ] || build=--no-build
MCP_REVISION=${MCP_REVISION:-$(git rev-parse --short HEAD 2>/dev/null || echo unknown)}
export MCP_REVISION COMPOSE_PROFILES="${COMPOSE_PROFILES:-}"

# Compose builds by BuildKit; the program of its own has to be told.
COMPOSE_DOCKER_CLI_BUILD=1 DOCKER_BUILDKIT=1 scripts/compose.sh up --detach "$build"
tool() {
  scripts/compose.sh run --rm -T "$@"
}

echo "waiting until the cluster is ready"
tries=0
# Ready is what the gateway says: it and every service behind it.
until tool mcp health >/dev/null 2>&1; do
  tries=$((tries + 1))
  if [ "$tries" -gt $((wait_seconds / 2)) ]; then
    echo "up: the cluster is not ready after $wait_seconds s:" >&2
    scripts/compose.sh ps >&2
    tool mcp health >&2 || true
    exit 1
  fi
  sleep 2
done
port=${MCP_GATEWAY_PORT:-8080}
cat <<URLS

  gateway      http://127.0.0.1:$port   (gRPC and HTTP/JSON)
  Grafana      http://127.0.0.1:3000   dashboards "MCP: ..."
  Jaeger       http://127.0.0.1:16686  traces
  Prometheus   http://127.0.0.1:9090   metrics and alerts
  key          export MCP_TOKEN=${MCP_BOOTSTRAP_KEY:-compose-on-this-machine-only-0123456789}
  command      docker compose run --rm mcp list
  stop         make down

the example job: 100,000 lines of an access log, parsed in parallel
URLS
job=/jobs/example-$$
tool --entrypoint log-report mcp prepare --folder "$job" --lines 100000 --parts 8 --seed 42
tool mcp --output json --timeout 15m workflow submit -f /examples/log-report/log-report.yaml --input-file "$job/input.json" --wait >"${TMPDIR:-/tmp}/mcp-up-$$.json"
trap 'rm -f "${TMPDIR:-/tmp}/mcp-up-$$.json"' EXIT
tool --entrypoint sh mcp -c "cat > $job/workflow.json && exec log-report check --folder $job --workflow $job/workflow.json" <"${TMPDIR:-/tmp}/mcp-up-$$.json"
