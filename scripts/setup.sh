#!/bin/sh
# Sees to it that what the tests need is there: etcd. Says in one line what to install when it may not do so itself.
set -eu

# Debian puts it into /usr/bin, others into places that are not always in PATH.
if command -v etcd >/dev/null 2>&1; then
  exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "setup: installing etcd-server for the tests"
  export DEBIAN_FRONTEND=noninteractive
  # Its service must not start: the tests run etcd processes of their own.
  if { apt-get install --yes --quiet --quiet --no-install-recommends etcd-server ||
    { apt-get update --quiet --quiet && apt-get install --yes --quiet --quiet --no-install-recommends etcd-server; }; } \
    >/dev/null 2>&1 && command -v etcd >/dev/null 2>&1; then
    exit 0
  fi
fi
echo "setup: the tests need etcd 3.4 or later: install the package etcd-server (Debian, Ubuntu) or etcd, or put the binary into PATH" >&2
exit 1
