# Debian packages that the peers need: Redis, PostgreSQL, Python's venv. Node is not among them: when the one in PATH is
# too old, the harness takes one from the Python registry. Sourced by run.sh.

policy=/usr/sbin/policy-rc.d
policy_is_ours=

# Installs what is missing, when it may; else says so, and the peers that need it are reported as unavailable.
install_packages() {
  missing=
  command -v redis-server >/dev/null 2>&1 || missing="$missing redis-server"
  [ -n "$(postgres_programs)" ] || missing="$missing postgresql"
  command -v python3 >/dev/null 2>&1 || missing="$missing python3"
  python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    say "not installed, and this user may not install it:$missing"
  else
    say "installing$missing"
    forbid_services
    # shellcheck disable=SC2086 # a list of names
    apt_install $missing || { apt-get update --quiet --quiet >/dev/null 2>&1 && apt_install $missing; } ||
      say "apt-get could not install$missing"
    undo_packages
  fi
  command -v python3 >/dev/null 2>&1 || { say "cannot go on without python3"; exit 1; }
}

apt_install() {
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --quiet --no-install-recommends "$@" >/dev/null 2>&1 9>&-
}

# The packages' own services must not start: this run has servers of its own, on free ports.
forbid_services() {
  [ ! -e "$policy" ] || return 0
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  policy_is_ours=1
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
