#!/bin/sh
# Measures other task queues and other gateways beside ours on this machine, in one run, and prints the ratios. `make
# bench-peers` calls it. docs/benchmarks.md says what is measured and which environment variables there are.
#
#   run.sh                   everything
#   run.sh queues            only the task queues
#   run.sh gateway [FIGURE]  only the gateways, and of them what has FIGURE in its name
#   run.sh ratios            the ratios of the last run of the queues once more
#
# Everything it installs (but Debian packages) and every file it writes goes below the folder that
# cargo builds in; whatever it starts it stops, however it ends.
set -eu
cd "$(dirname "$0")/../.."

results=$PWD/target/bench # where our own benchmark leaves its figures, too
build=$results/peers # what is installed
case ${CARGO_TARGET_DIR:-} in
  "") ;;
  /*) build=$CARGO_TARGET_DIR/bench/peers ;;
  *) build=$PWD/$CARGO_TARGET_DIR/bench/peers ;;
esac
here=$PWD/bench/peers
data=
running= # what this script waits for
pids= # of the servers, the last one started first

# Says one line on standard error.
say() { echo "bench-peers: $*" >&2; }

. "$here/lib/packages.sh"
. "$here/lib/servers.sh"

# Runs once, however the script ends: first what runs (the harness stops its drivers and workers), then the servers, then
# the data.
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
mkdir -p "$build" "$results"
export PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PEERS_BUILD="$build" PEERS_RESULTS="$results"
if [ "${1:-}" = ratios ]; then
  run python3 "$here/harness" ratios
  exit
fi
case ${1:-} in
  "") parts="queues gateway" ;;
  queues | gateway) parts=$1 ;;
  *) say "there is no part \`$1\`: queues, gateway or ratios" && exit 64 ;;
esac
exec 9>"$build/lock"
flock --nonblock 9 || { say "another run is using $build"; exit 1; }

rm -rf "$results"/peers-data.* # of a run that was killed: nobody else holds the lock
# shellcheck disable=SC2086 # a list of words
install_packages $parts
make_data_folder
PEERS_DATA=$data
export PEERS_DATA
failed=0
for part in $parts; do
  case $part in
    queues)
      start_redis
      start_postgres
      run setpriv --pdeathsig TERM -- python3 "$here/harness" measure || failed=1
      stop_servers # the gateways have the machine to themselves
      ;;
    # After the queues: their step writes the summary anew, this one joins it.
    gateway) run setpriv --pdeathsig TERM -- python3 "$here/gateway" "${2:-}" || failed=1 ;;
  esac
done
exit "$failed"
