#!/bin/sh
# Sees to it that what the tests need is there: etcd, PostgreSQL and Python. Says in one line what to install when it
# may not do so itself.
set -eu

# Debian puts it into /usr/bin, others into places that are not always in PATH.
has_etcd() {
  command -v etcd >/dev/null 2>&1
}

# Debian keeps the server's programs out of PATH, in a folder for each version.
has_postgres() {
  for initdb in /usr/lib/postgresql/*/bin/initdb; do
    if [ -x "$initdb" ]; then
      return 0
    fi
  done
  command -v initdb >/dev/null 2>&1
}

# The reference client of the wire frame is tested with it.
has_python() {
  command -v python3 >/dev/null 2>&1
}

install() {
  apt-get install --yes --quiet --quiet --no-install-recommends "$@" ||
    { apt-get update --quiet --quiet && apt-get install --yes --quiet --quiet --no-install-recommends "$@"; }
}

packages=
has_etcd || packages="etcd-server"
has_postgres || packages="$packages postgresql"
has_python || packages="$packages python3"
if [ -z "$packages" ]; then
  exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "setup: installing for the tests: $packages"
  export DEBIAN_FRONTEND=noninteractive
  # Their services must not start, nor must a cluster be made: the tests run processes of their own.
  if ! has_postgres && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    mkdir -p /etc/postgresql-common
    echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
  fi
  # shellcheck disable=SC2086 # a list of words
  if install $packages >/dev/null 2>&1 && has_etcd && has_postgres && has_python; then
    exit 0
  fi
fi
echo "setup: the tests need etcd 3.4 or later, PostgreSQL 13 or later and Python 3: install the packages etcd-server, postgresql and python3 (Debian, Ubuntu), or put etcd, initdb and python3 into PATH" >&2
exit 1
