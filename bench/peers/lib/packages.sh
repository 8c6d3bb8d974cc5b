# Debian packages that the peers need: Redis, PostgreSQL, etcd, Python's venv. Node is not among them: when the one in PATH is
# too old, the harness takes one from the Python registry. Sourced by run.sh.

policy=/usr/sbin/policy-rc.d
policy_is_ours=
apt_seconds=900 # until an apt-get that does not end is given up

# install_packages PART...: installs what is missing, when it may; else says so, and the peers that need it are reported as
# unavailable. The gateways are unpacked by their own harness and need nothing but Python here, and etcd for ours.
install_packages() {
  missing=
  case " $* " in
    *" queues "*)
      command -v redis-server >/dev/null 2>&1 || missing="$missing redis-server"
      [ -n "$(postgres_programs)" ] || missing="$missing postgresql"
      ;;
  esac
  case " $* " in
    *" gateway "*) command -v etcd >/dev/null 2>&1 || missing="$missing etcd-server" ;;
  esac
  command -v python3 >/dev/null 2>&1 || missing="$missing python3"
  python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    say "not installed, and this user may not install it:$missing"
  else
    say "installing$missing"
    forbid_services
    # shellcheck disable=SC2086 # a list of names
    apt_get install --no-install-recommends $missing ||
      { apt_get update && apt_get install --no-install-recommends $missing; } ||
      { say "apt-get could not install$missing:" && tail -n 20 "$build/apt.log" >&2; }
    undo_packages
  fi
  command -v python3 >/dev/null 2>&1 || { say "cannot go on without python3"; exit 1; }
}

apt_get() {
  run env DEBIAN_FRONTEND=noninteractive timeout --kill-after=10 "$apt_seconds" apt-get --yes --quiet "$@" \
    >"$build/apt.log" 2>&1
}

# The packages' own services must not start, nor must a cluster be made: this run has servers of its own, on free ports.
forbid_services() {
  if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    mkdir -p /etc/postgresql-common
    echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
  fi
  [ ! -e "$policy" ] || return 0
  policy_is_ours=1
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
}

undo_packages() {
  [ -z "$policy_is_ours" ] || rm -f "$policy"
  policy_is_ours=
}

# The folder with the newest initdb and postgres; nothing when there is none.
postgres_programs() {
  newest=$(find /usr/lib/postgresql/*/bin -name initdb 2>/dev/null | sort --version-sort | tail -n 1)
  [ -n "$newest" ] || newest=$(command -v initdb || true)
  [ -z "$newest" ] || dirname "$newest"
}
