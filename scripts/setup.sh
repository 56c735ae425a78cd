#!/usr/bin/env bash
# Installs what Parley builds and tests with, on Debian 12 or 13. Idempotent: does nothing when all is there.
#
#   scripts/setup.sh            all of it
#   scripts/setup.sh --build    only what a build needs: no clang, no Node.js (several hundred packages less)
set -euo pipefail

only_build=
case ${1:-} in
  '') ;;
  --build) only_build=1 ;;
  *) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac

packages=(
  g++ cmake ninja-build ccache mold git procps curl openssl
  libcaf-dev capnproto libcapnp-dev liblmdb-dev libssl-dev libjemalloc-dev
  libfmt-dev libspdlog-dev doctest-dev libcli11-dev libtomlplusplus-dev
  prometheus-cpp-dev libcurl4-openssl-dev
  librapidcheck-dev libexpected-dev nlohmann-json3-dev libutf8proc-dev
)
[ -n "$only_build" ] || packages+=(
  clang-format
  clang-tidy-19
  clang-19 libclang-rt-19-dev # for fuzzing; older ones cannot compile the ranges of Debian 12's libstdc++
)

root=()
[ "$(id -u)" = 0 ] || root=(sudo)

present() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing=()
for package in "${packages[@]}"; do present "$package" || missing+=("$package"); done

[ -n "$only_build" ] || command -v npm >/dev/null || missing+=(nodejs npm) # for tests only: implementations of MLS, and a client, that are not ours

# What Debian 12 proper has too old: a package, the version it takes, and what of its source has to be pinned.
#   libraft 0.15 loses committed entries; SQLCipher 3.4 stands on an SQLite of 2016 and weaker defaults.
newer=(
  "libraft-dev 0.22 libraft*"
  "libsqlcipher-dev 4.6 libsqlcipher*"
)

fits() { # package version
  present "$1" && dpkg --compare-versions "$(dpkg-query -W -f '${Version}' "$1")" ge "$2"
}

too_old=()
for entry in "${newer[@]}"; do
  read -r package version _ <<<"$entry"
  fits "$package" "$version" || too_old+=("$package")
done

if [ ${#missing[@]} -gt 0 ] || [ ${#too_old[@]} -gt 0 ]; then
  export DEBIAN_FRONTEND=noninteractive
  "${root[@]}" apt-get update -qq
fi
if [ ${#missing[@]} -gt 0 ]; then
  echo "setup: installing ${missing[*]}"
  "${root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if [ ${#too_old[@]} -gt 0 ]; then
  codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
  if [ "$codename" = bookworm ]; then
    # The backports suite stands beside the machine's own suite, on whatever mirror it uses.
    list=/etc/apt/sources.list.d/parley-backports.list
    mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE)' | awk '$2 == "bookworm" {print $1; exit}')
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -r "$keyring" ] || keyring=
    [ -n "$mirror" ] || { echo "setup: no Debian 12 source to derive backports from" >&2; exit 1; }
    echo "deb ${keyring:+[signed-by=$keyring] }$mirror bookworm-backports main" | "${root[@]}" tee "$list" >/dev/null
    {
      printf 'Package: *\nPin: release n=bookworm-backports\nPin-Priority: 1\n'
      for entry in "${newer[@]}"; do
        read -r package _ pattern <<<"$entry"
        printf '\nPackage: %s %s\nPin: release n=bookworm-backports\nPin-Priority: 990\n' "$package" "$pattern"
      done
    } | "${root[@]}" tee /etc/apt/preferences.d/parley-backports >/dev/null
    "${root[@]}" apt-get update -qq
  fi
  echo "setup: installing ${too_old[*]}"
  "${root[@]}" apt-get install -y -qq --no-install-recommends "${too_old[@]}" >/dev/null
fi

# Without it the gate says again that it cannot check the format; everything else works.
[ -n "$only_build" ] || "$(dirname "$0")/find_clang_format.sh" >/dev/null || true

for entry in "${newer[@]}"; do
  read -r package version _ <<<"$entry"
  fits "$package" "$version" || { echo "setup: $package $version or newer is needed" >&2; exit 1; }
done
