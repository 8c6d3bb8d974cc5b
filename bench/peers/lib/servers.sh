# The servers the peers keep their tasks in, on free ports of the loopback interface, as an unprivileged user, with their
# data where ours is: below target/, on the disk of the work tree. Sourced by run.sh.
#
# Both are set up so that they are as durable as ours and otherwise as fast as they can be: a comparison with a badly set up
# server says nothing. Redis syncs its log before every answer and never rewrites it during the run; PostgreSQL syncs at
# every commit, has room for everything in memory, and no checkpoint by size. For each server that runs, its address and
# what it says of its own settings are exported for the harness.

user=nobody     # what the servers run as when we are root
start_seconds=30 # until a server that does not answer is given up
stop_seconds=15 # until a server that does not stop is killed

# Runs a command as that user; it ends with this script, even if the script is killed.
unprivileged() {
  if [ "$(id -u)" = 0 ]; then
    exec setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups --pdeathsig TERM -- "$@"
  fi
  exec setpriv --pdeathsig TERM -- "$@"
}

# A folder of this run's own. It must be on a disk: an fsync to memory costs nothing.
make_data_folder() {
  data=$(mktemp -d "$results/peers-data.XXXXXX")
  chmod 755 "$data"
  if ! (unprivileged test -x "$data"); then
    rm -rf "$data"
    data=$(mktemp -d /var/tmp/mcp-bench-peers.XXXXXX)
    chmod 755 "$data"
    say "user $user cannot reach $results: the servers' data is in $data"
  fi
}

# Makes a folder below the data that the unprivileged user owns.
server_folder() {
  mkdir "$data/$1"
  [ "$(id -u)" != 0 ] || chown "$user" "$data/$1"
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

start_redis() {
  command -v redis-server >/dev/null 2>&1 || return 0
  port=$(free_port)
  server_folder redis
  (cd "$data/redis" && unprivileged redis-server --port "$port" --bind 127.0.0.1 --dir "$data/redis" --daemonize no \
    --save '' --appendonly yes --appendfsync always --auto-aof-rewrite-percentage 0) >"$data/redis.log" 2>&1 9>&- &
  pids="$! $pids"
  if ! comes_up "$!" redis-cli -h 127.0.0.1 -p "$port" ping; then
    say "redis-server does not start:" && tail -n 20 "$data/redis.log" >&2
    return 0
  fi
  PEERS_REDIS_PORT=$port
  PEERS_REDIS_ABOUT="Redis $(redis-server --version | sed 's/.* v=\([^ ]*\).*/\1/')"
  for name in appendonly appendfsync; do
    PEERS_REDIS_ABOUT="$PEERS_REDIS_ABOUT, $name $(redis-cli -h 127.0.0.1 -p "$port" config get "$name" | tail -n 1)"
  done
  export PEERS_REDIS_PORT PEERS_REDIS_ABOUT
}

start_postgres() {
  programs=$(postgres_programs)
  [ -n "$programs" ] || return 0
  port=$(free_port)
  server_folder postgres
  log=$data/postgres.log
  if ! (cd "$data/postgres" && unprivileged "$programs/initdb" --pgdata "$data/postgres" --auth trust --username postgres \
    --encoding UTF8 --locale C --no-sync) >"$log" 2>&1 9>&-; then
    say "initdb failed:" && tail -n 20 "$log" >&2
    return 0
  fi
  (cd "$data/postgres" && unprivileged "$programs/postgres" -D "$data/postgres" -p "$port" -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories= -c fsync=on -c synchronous_commit=on -c full_page_writes=on -c shared_buffers=512MB \
    -c max_wal_size=4GB -c checkpoint_timeout=30min -c max_connections=200) >>"$log" 2>&1 9>&- &
  pids="$! $pids"
  if ! comes_up "$!" "$programs/pg_isready" --host 127.0.0.1 --port "$port" --quiet; then
    say "postgres does not start:" && tail -n 20 "$log" >&2
    return 0
  fi
  PEERS_POSTGRES=postgresql://postgres@127.0.0.1:$port/postgres
  PEERS_POSTGRES_ABOUT="PostgreSQL $("$programs/postgres" --version | sed 's/[^0-9]*\([0-9.]*\).*/\1/')"
  for name in fsync synchronous_commit shared_buffers; do
    value=$("$programs/psql" --no-psqlrc --tuples-only --no-align --dbname "$PEERS_POSTGRES" --command "show $name")
    PEERS_POSTGRES_ABOUT="$PEERS_POSTGRES_ABOUT, $name $value"
  done
  export PEERS_POSTGRES PEERS_POSTGRES_ABOUT
}

# comes_up PID COMMAND...: waits until the command succeeds; fails when the process has ended or took too long.
comes_up() {
  process=$1
  shift
  tries=0
  until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -le $((start_seconds * 10)) ] && kill -0 "$process" 2>/dev/null || return 1
    sleep 0.1
  done
}

# stop_process PID SIGNAL: ends a child of this script, by force when it takes too long. No PID: nothing.
stop_process() {
  [ -n "$1" ] && kill -s "$2" "$1" 2>/dev/null || return 0
  waited=0
  while kill -0 "$1" 2>/dev/null && [ "$waited" -lt $((stop_seconds * 10)) ]; do
    sleep 0.1
    waited=$((waited + 1))
  done
  if kill -s KILL "$1" 2>/dev/null; then
    say "process $1 did not stop and was killed"
  fi
  wait "$1" 2>/dev/null || true
}

# PostgreSQL takes INT as: end all sessions and stop. For Redis it is the same as TERM.
stop_servers() {
  for pid in $pids; do
    stop_process "$pid" INT
  done
  pids=
}
