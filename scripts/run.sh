#!/usr/bin/env bash
# A cluster to look at: installs what is missing, builds, starts three nodes on loopback with TLS, makes the users alice,
# bob and carol, and lets them exchange a few messages, with ticks. Then it stays up and says how to chat.
# If there is a folder build (scripts/test.sh makes it), that is what it builds and starts; else build-demo, whose programs
# are compiled in half the time and are slower.
#
#   scripts/run.sh          data in data/demo, ports 7001-7003 (clients), 7101-7103 (nodes), 7201-7203 (operators)
#   scripts/run.sh --once   exits after the exchange, 0 only if every message was delivered and read; leaves nothing behind
set -euo pipefail
cd "$(dirname "$0")/.."

once=
case ${1:-} in
  '') ;;
  --once) once=1 ;;
  *) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac

scripts/setup.sh --build
if [ -e build/build.ninja ]; then
  build=build
  scripts/build.sh build parleyd parley
else
  build=build-demo
  scripts/build.sh build-demo -DCMAKE_BUILD_TYPE=Demo -DPARLEY_UNITY=ON parleyd parley
fi
mkdir -p data

if [ -n "$once" ]; then
  home=$(mktemp -d "$PWD/data/once-XXXXXX")
  base=$((20000 + RANDOM % 10000)) # beside a demo that is up
else
  home=$PWD/data/demo
  base=7000
  mkdir -p "$home"
fi
client_port() { echo $((base + $1)); }
peer_port() { echo $((base + 100 + $1)); }
admin_port() { echo $((base + 200 + $1)); }

nodes=()
finish() {
  local status=$?
  trap - EXIT INT TERM
  [ ${#nodes[@]} -eq 0 ] || kill -TERM "${nodes[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  [ -z "$once" ] || { [ $status -eq 0 ] && rm -rf "$home" || echo "logs: $home" >&2; }
  exit $status
}
trap finish EXIT
trap 'exit 0' INT TERM

scripts/make_certs.sh "$home/certs" 1 2 3 >/dev/null
seeds=127.0.0.1:$(peer_port 1),127.0.0.1:$(peer_port 2),127.0.0.1:$(peer_port 3)
for n in 1 2 3; do
  mkdir -p "$home/node-$n"
  $build/bin/parleyd --node $n --data-dir "$home/node-$n" --certs-dir "$home/certs" --seeds "$seeds" \
    --peer-listen 127.0.0.1:"$(peer_port $n)" --client-listen 127.0.0.1:"$(client_port $n)" \
    --admin-listen 127.0.0.1:"$(admin_port $n)" --drain-spread 500ms --drain-deadline 3s \
    >>"$home/node-$n.out" 2>>"$home/node-$n.log" &
  nodes+=($!)
done

echo "waiting for three nodes"
deadline=$((SECONDS + 60))
for n in 1 2 3; do
  until curl -fsS -m 1 "http://127.0.0.1:$(admin_port $n)/readyz" >/dev/null 2>&1; do
    kill -0 "${nodes[$((n - 1))]}" 2>/dev/null || { echo "node $n ended:"; tail -n 5 "$home/node-$n.log"; exit 1; }
    [ $SECONDS -lt $deadline ] || { echo "node $n is not ready after a minute: $home/node-$n.log says why"; exit 1; }
    sleep 0.1
  done
done

export PARLEY_SEEDS=127.0.0.1:$(client_port 1),127.0.0.1:$(client_port 2),127.0.0.1:$(client_port 3)
export PARLEY_CA=$home/certs/client-ca.pem
declare -A phone=([alice]=+491700000001 [bob]=+491700000002 [carol]=+491700000003)
parley() { local who=$1 what=$2; shift 2; $build/bin/parley "$what" --profile "$home/$who/" "$@"; }

# The user's number is kept beside the profile, which takes no files that are not its own.
for who in alice bob carol; do
  if [ ! -s "$home/$who.user" ] && [ ! -e "$home/$who/registered" ]; then # a demo of before has only the latter
    said=$(parley $who register --phone "${phone[$who]}" --code-from "$home"/node-{1,2,3}.out --json)
    sed -n 's/.*"user":"\{0,1\}\([0-9]*\).*/\1/p' <<<"$said" >"$home/$who.user"
    echo "$who is registered: ${phone[$who]}"
  fi
done

# Whoever is written to by a stranger sees an id. These three know each other.
for who in alice bob carol; do
  for other in alice bob carol; do
    [ $who = $other ] || [ ! -s "$home/$other.user" ] || parley $who contacts --whom "$(cat "$home/$other.user")" --name $other >/dev/null
  done
done

# The sender waits until a person has read it; the recipient looks until the sender is content.
say() { # from, to, words
  local from=$1 to=$2 sender
  shift 2
  echo
  echo "$from to $to: $*"
  parley "$from" send --to "${phone[$to]}" --wait read --seconds 30 "$*" &
  sender=$!
  while kill -0 $sender 2>/dev/null; do
    parley "$to" sync --read --seconds 10 | grep -v "new\.$" || true
  done
  wait $sender || { echo "not read: $*"; exit 1; }
}
say alice bob "Hi Bob. Two of three nodes hold this on their disks before you see one tick."
say bob alice "And if one of them dies?"
say alice bob "Then the other two still have it. Try: kill -9 ${nodes[0]}"
say carol alice "Room for one more?"

[ -z "$once" ] || { echo; echo "every message was delivered and read"; exit 0; }

cat <<END

The nodes are up (${nodes[*]}); logs and data: $home. In another terminal:

  export PARLEY_SEEDS=$PARLEY_SEEDS PARLEY_CA=$PARLEY_CA
  $build/bin/parley chat --profile $home/alice/ --with ${phone[bob]}
  $build/bin/parley chat --profile $home/bob/ --with ${phone[alice]}
  $build/bin/parley top --admin 127.0.0.1:$(admin_port 1),127.0.0.1:$(admin_port 2),127.0.0.1:$(admin_port 3)

Ctrl-C stops the cluster; its data stays.
END
wait "${nodes[@]}"
