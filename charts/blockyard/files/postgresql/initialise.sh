# Makes the data of a new PostgreSQL: user and database `blockyard`, password from a file. Finished data is left alone.
set -eu
[ -n "${PGPATH:-}" ] && PATH="$PGPATH:$PATH"
[ -e "$PGDATA/complete" ] && exit 0
rm -rf "$PGDATA"
initdb --username=blockyard --pwfile=/etc/postgresql-password/password --auth=scram-sha-256 --encoding=UTF8 --locale=C
echo 'CREATE DATABASE blockyard' | postgres --single postgres
touch "$PGDATA/complete"
