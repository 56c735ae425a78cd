#!/usr/bin/env bash
# Makes the certificates of a Parley cluster: three authorities that trust nothing of each other, and for
# each node one certificate of each.
#
#   scripts/make_certs.sh [--host NAME_OR_IP]… DIR NODE…      e.g. scripts/make_certs.sh run/certs 1 2 3
#
#   DIR/client-ca.pem   phones and browsers trust it     DIR/node-N/client.{pem,key}   the gateway shows it
#   DIR/node-ca.pem     nodes trust only it              DIR/node-N/node.{pem,key}     node to node
#   DIR/admin-ca.pem    operators' tools and the node    DIR/node-N/admin.{pem,key}    the admin port
#   DIR/ca/             the authorities' private keys: nodes never need them; keep them off the cluster
#
# A node's identity is the name node-N.parley in its node certificate. Names added with --host go into the
# certificates of every node named in this run. Idempotent: what is there, fits its authority and is valid for
# 30 more days is left alone.
set -euo pipefail
umask 077

usage() { sed -n '2,14s/^# \{0,1\}//p' "$0"; exit "${1:-0}"; }
fail() { echo "make_certs: $*" >&2; exit 1; }

hosts=()
while [ $# -gt 0 ]; do
  case $1 in
    --host) [ $# -ge 2 ] || fail "--host wants a name or an address"; hosts+=("$2"); shift 2 ;;
    -h | --help) usage ;;
    -*) fail "unknown option $1" ;;
    *) break ;;
  esac
done
[ $# -ge 2 ] || usage 1
dir=$1
shift
for node in "$@"; do
  [[ $node =~ ^[1-9][0-9]{0,8}$ ]] || fail "a node is a number from 1 on, not '$node'"
done

ca_days=3650
leaf_days=825
renew_seconds=$((30 * 24 * 3600))

mkdir -p "$dir/ca"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

new_key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null ||
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

authority() { # kind: client, node, admin
  local kind=$1
  [ -s "$dir/$kind-ca.pem" ] && [ -s "$dir/ca/$kind-ca.key" ] && return
  [ ! -s "$dir/$kind-ca.pem" ] || fail "$dir/$kind-ca.pem is there, but not its key in $dir/ca: bring it, or start anew"
  new_key "$scratch/ca.key"
  openssl req -x509 -new -key "$scratch/ca.key" -sha256 -days $ca_days -subj "/O=Parley/CN=parley $kind authority" \
    -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -out "$scratch/ca.pem"
  mv "$scratch/ca.key" "$dir/ca/$kind-ca.key"
  chmod 0644 "$scratch/ca.pem"
  mv "$scratch/ca.pem" "$dir/$kind-ca.pem"
}

is_address() { [[ $1 =~ ^[0-9.]+$ || $1 == *:* ]]; }
named() { openssl x509 -in "$3" -noout "$1" "$2" | grep -q "does match certificate"; }

names() { # node
  local sans="DNS:node-$1.parley,DNS:localhost,IP:127.0.0.1,IP:::1" host
  for host in "${hosts[@]}"; do
    if is_address "$host"; then sans+=",IP:$host"; else sans+=",DNS:$host"; fi
  done
  echo "$sans"
}

fits() { # certificate, key, authority: valid a while longer, of this authority, belongs to the key, has all names
  local host
  [ -s "$1" ] && [ -s "$2" ] && openssl verify -CAfile "$3" "$1" >/dev/null 2>&1 &&
    openssl x509 -in "$1" -noout -checkend $renew_seconds >/dev/null &&
    [ "$(openssl x509 -in "$1" -noout -pubkey)" = "$(openssl pkey -in "$2" -pubout)" ] || return 1
  for host in "${hosts[@]}"; do
    if is_address "$host"; then named -checkip "$host" "$1"; else named -checkhost "$host" "$1"; fi || return 1
  done
}

leaf() { # kind, node
  local kind=$1 home="$dir/node-$2"
  mkdir -p "$home"
  fits "$home/$kind.pem" "$home/$kind.key" "$dir/$kind-ca.pem" && return
  new_key "$scratch/leaf.key"
  openssl req -new -key "$scratch/leaf.key" -subj "/O=Parley/CN=node-$2.parley" -out "$scratch/leaf.csr"
  cat >"$scratch/leaf.ext" <<EXT
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth,clientAuth
subjectAltName=$(names "$2")
EXT
  openssl x509 -req -in "$scratch/leaf.csr" -CA "$dir/$kind-ca.pem" -CAkey "$dir/ca/$kind-ca.key" -sha256 \
    -set_serial "0x$(openssl rand -hex 16 | sed 's/^./1/')" -days $leaf_days -extfile "$scratch/leaf.ext" \
    -out "$scratch/leaf.pem" 2>/dev/null
  mv "$scratch/leaf.key" "$home/$kind.key"
  chmod 0644 "$scratch/leaf.pem"
  mv "$scratch/leaf.pem" "$home/$kind.pem"
}

for kind in client node admin; do
  authority $kind
  for node in "$@"; do leaf $kind "$node"; done
done
echo "certificates for node(s) $*: $dir"
