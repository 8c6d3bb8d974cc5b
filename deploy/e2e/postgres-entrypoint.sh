#!/bin/sh
# What the official image's entrypoint does with POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB, and no more.
set -eu
data=/var/lib/postgresql/data
as_postgres() {
  setpriv --reuid=999 --regid=999 --clear-groups "$@"
}
if [ ! -e "$data/PG_VERSION" ]; then
  chown 999:999 "$data"
  chmod 700 "$data"
  printf '%s' "$POSTGRES_PASSWORD" >/tmp/password
  chmod 644 /tmp/password
  as_postgres initdb --pgdata="$data" --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8
  rm /tmp/password
  as_postgres pg_ctl --pgdata="$data" --wait --options='-c listen_addresses=' start
  [ "$POSTGRES_DB" = postgres ] || as_postgres psql --username="$POSTGRES_USER" --dbname=postgres --command="CREATE DATABASE \"$POSTGRES_DB\""
  as_postgres pg_ctl --pgdata="$data" --wait --mode=fast stop
  echo "host all all all scram-sha-256" >>"$data/pg_hba.conf"
fi
exec setpriv --reuid=999 --regid=999 --clear-groups postgres -D "$data" -c 'listen_addresses=*'
