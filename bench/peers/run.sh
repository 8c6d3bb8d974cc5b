#!/bin/sh
# Measures other task queues beside ours on this machine, in one run, and prints the ratios. `make bench-peers` calls it.
# README.md says what is measured and which environment variables there are. Everything it installs (but Debian packages)
# and every file it writes goes below target/bench; whatever it starts it stops, however it ends.
set -eu
cd "$(dirname "$0")/../.."

build=$PWD/${CARGO_TARGET_DIR:-target}/bench/peers
case ${CARGO_TARGET_DIR:-} in /*) build=$CARGO_TARGET_DIR/bench/peers ;; esac
here=$PWD/bench/peers
data=
running= # what this script waits for
pids= # of the servers, the last one started first

# Says one line on standard error.
say() { echo "bench-peers: $*" >&2; }

. "$here/lib/packages.sh"
. "$here/lib/servers.sh"

# Runs once, however the script ends: first what runs (the harness stops its drivers and workers), then the servers, then the data.
clean_up() {
  status=$?
  trap - EXIT
  trap '' INT TERM HUP # a second signal must not leave half of it behind; every stop below has a limit of its own
  stop_process "$running" TERM
  stop_servers
  [ -z "$data" ] || rm -rf "$data"
  undo_packages
  exit "$status"
}
# Runs a command in the background and waits for it, so that a signal is acted on at once. The lock is closed to it.
run() {
  "$@" 9>&- &
  running=$!
  result=0
  wait "$running" || result=$?
  running=
  return "$result"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

command -v setpriv >/dev/null 2>&1 && command -v flock >/dev/null 2>&1 ||
  { say "needs setpriv and flock (package util-linux)"; exit 1; }
mkdir -p "$build"
exec 9>"$build/lock"
flock --nonblock 9 || { say "another run is using $build"; exit 1; }

# Ours comes first: figures of one session on one machine are the only ones that may be compared.
if [ "${MCP_BENCH_SKIP:-0}" != 1 ]; then
  run "${MAKE:-make}" bench
fi

install_packages
make_data_folder
start_redis always
start_redis everysec
start_postgres

export PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PEERS_BUILD="$build" PEERS_DATA="$data"
run setpriv --pdeathsig TERM -- python3 "$here/harness"
