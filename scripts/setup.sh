#!/usr/bin/env bash
# Installs what Parley builds and tests with, on Debian 12 or 13. Idempotent: does nothing when all is there.
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache mold clang-format git procps curl openssl
  libcaf-dev capnproto libcapnp-dev liblmdb-dev libssl-dev
  libfmt-dev libspdlog-dev doctest-dev libcli11-dev libtomlplusplus-dev
  prometheus-cpp-dev libcurl4-openssl-dev libsqlite3-dev
  librapidcheck-dev libexpected-dev nlohmann-json3-dev
)

root=()
[ "$(id -u)" = 0 ] || root=(sudo)

present() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing=()
for package in "${packages[@]}"; do present "$package" || missing+=("$package"); done

command -v npm >/dev/null || missing+=(nodejs npm) # for tests only: implementations of MLS that are not ours

raft_fit() { # libraft 0.15 of Debian 12 proper loses committed entries: only 0.22 or newer will do
  local version
  version=$(dpkg-query -W -f '${Version}' libraft-dev 2>/dev/null) || return 1
  dpkg --compare-versions "$version" ge 0.22
}

if [ ${#missing[@]} -gt 0 ] || ! raft_fit; then
  export DEBIAN_FRONTEND=noninteractive
  "${root[@]}" apt-get update -qq
fi
if [ ${#missing[@]} -gt 0 ]; then
  echo "setup: installing ${missing[*]}"
  "${root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if ! raft_fit; then
  codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
  if [ "$codename" = bookworm ]; then
    # The backports suite stands beside the machine's own suite, on whatever mirror it uses.
    list=/etc/apt/sources.list.d/parley-backports.list
    mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE)' | awk '$2 == "bookworm" {print $1; exit}')
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -r "$keyring" ] || keyring=
    [ -n "$mirror" ] || { echo "setup: no Debian 12 source to derive backports from" >&2; exit 1; }
    echo "deb ${keyring:+[signed-by=$keyring] }$mirror bookworm-backports main" | "${root[@]}" tee "$list" >/dev/null
    printf 'Package: *\nPin: release n=bookworm-backports\nPin-Priority: 1\n\nPackage: libraft-dev libraft*\nPin: release n=bookworm-backports\nPin-Priority: 990\n' |
      "${root[@]}" tee /etc/apt/preferences.d/parley-backports >/dev/null
    "${root[@]}" apt-get update -qq
  fi
  echo "setup: installing libraft-dev"
  "${root[@]}" apt-get install -y -qq --no-install-recommends libraft-dev >/dev/null
  raft_fit || { echo "setup: libraft-dev 0.22 or newer is needed" >&2; exit 1; }
fi
