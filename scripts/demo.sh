#!/bin/sh
# The demo: `mcp dev` with data that is thrown away, the log-report workflow through its gateway, its report compared with
# one that is computed without it, and then everything stops.
# Needs the release binaries; `make demo` builds them.
set -eu
cd "$(dirname "$0")/.."

bin=${CARGO_TARGET_DIR:-target}/release
work=$(mktemp -d "${TMPDIR:-/tmp}/mcp-demo.XXXXXX")
server=

# Runs once, however the script ends: the server drains and removes its data, then our own folder goes.
clean_up() {
  status=$?
  trap - EXIT
  trap '' INT TERM HUP # a second signal must not leave half of it behind; the server's stop has a limit of its own
  if [ -n "$server" ] && kill -TERM "$server" 2>/dev/null; then
    wait "$server" || { echo "demo: mcp dev did not stop in order; its output:" >&2; cat "$work/dev.log" >&2; [ "$status" -ne 0 ] || status=1; }
  fi
  rm -rf "$work"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Port 0: the system picks a free one, and the server prints the URL.
: >"$work/dev.log" # there before the first look at it
TMPDIR=$work "$bin/mcp" dev --ephemeral --port 0 >"$work/dev.log" 2>&1 &
server=$!

url=
tries=0
while [ -z "$url" ]; do
  if ! kill -0 "$server" 2>/dev/null; then
    echo "demo: mcp dev did not start:" >&2
    cat "$work/dev.log" >&2
    server=
    exit 1
  fi
  tries=$((tries + 1))
  if [ "$tries" -gt 600 ]; then
    echo "demo: mcp dev is not ready after a minute:" >&2
    cat "$work/dev.log" >&2
    exit 1
  fi
  # It prints this when all services work together, not before.
  url=$(sed -n 's/^ *gateway *\(http:[^ ]*\).*/\1/p' "$work/dev.log")
  [ -n "$url" ] || sleep 0.1
done

cat "$work/dev.log"
echo
"$bin/log-report" prepare --folder "$work/job" --lines 100000 --parts 8 --seed 42
# The steps are shown as they go; the workflow as JSON goes to the file.
"$bin/mcp" --gateway "$url" --output json --timeout 15m workflow submit -f examples/log-report/log-report.yaml \
  --input-file "$work/job/input.json" --wait >"$work/workflow.json"
echo
"$bin/log-report" check --folder "$work/job" --workflow "$work/workflow.json"
echo
echo "what the platform has kept of it:"
"$bin/mcp" --gateway "$url" workflow list
"$bin/mcp" --gateway "$url" list --limit 10
echo
echo "stopping"
