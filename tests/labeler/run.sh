#!/usr/bin/env bash
# Runs a command beside the network of start.mjs, its PostgreSQL and its Redis, in a network namespace of its own: these
# servers listen on every interface, and there loopback is the only one.
#   run.sh COMMAND ARGUMENT...   with the addresses in NETWORK, and two pipes, NETWORK_ASK and NETWORK_ANSWER, to start.mjs
set -euo pipefail
[ "${IN_NAMESPACE:-}" ] || exec env IN_NAMESPACE=1 unshare -n bash "$0" "$@"
ip link set lo up
here=$(dirname "$(readlink -f "$0")")
data=$(mktemp -d)
chmod 755 "$data"
mkdir "$data/pg"
chown nobody "$data/pg"
postgres=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)

pids=()
end() {
  for pid in "${pids[@]}"; do kill -INT "$pid" 2>/dev/null || true; done # PostgreSQL waits for clients on SIGTERM
  wait "${pids[@]}" 2>/dev/null || true
  rm -rf "$data"
}
trap end EXIT

(cd "$data" && "${as_nobody[@]}" "$postgres/initdb" -D "$data/pg" -U pg -A trust >/dev/null)
(cd "$data" && exec "${as_nobody[@]}" "$postgres/postgres" -D "$data/pg" -p 5433 -k "$data/pg" \
  -c listen_addresses=127.0.0.1 -c fsync=off) >"$data/pg.log" 2>&1 &
pids+=($!)
redis-server --port 6380 --bind 127.0.0.1 --save "" >/dev/null 2>&1 &
pids+=($!)
for _ in $(seq 100); do "$postgres/pg_isready" -q -h 127.0.0.1 -p 5433 && break; sleep 0.1; done

export DB_POSTGRES_URL=postgresql://pg@127.0.0.1:5433/postgres REDIS_HOST=127.0.0.1:6380 LOG_ENABLED=false
mkfifo "$data/ask" "$data/answer"
(cd "$here" && exec node start.mjs) <"$data/ask" >"$data/answer" 2>"$data/node.log" &
pids=($! "${pids[@]}")
exec 8>"$data/ask" 9<"$data/answer" # held open: the pipes last over many writers and readers
if ! read -r NETWORK <&9; then
  tail -n 5 "$data/node.log" >&2
  exit 1
fi
export NETWORK NETWORK_ASK="$data/ask" NETWORK_ANSWER="$data/answer"
code=0
"$@" || code=$?
exec 8>&- 9<&- # the network ends when nobody asks any more
exit "$code"
