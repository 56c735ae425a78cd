#!/usr/bin/env bash
# Runs the unit and actor tests under ThreadSanitizer. It knows only what it instruments, and CAF and KJ carry every
# message from thread to thread: both are built here too, from the source of the very versions that are installed
# (Debian's, checked against its signed index, not touching the machine's own list of sources).
#
#   scripts/tsan.sh                    all unit and actor tests
#   scripts/tsan.sh -R storage         arguments instead go to ctest
#
# Everything is below build-tsan (PARLEY_TSAN_DIR names another place). OpenSSL, LMDB and the other libraries stay as
# installed; tests/tsan.supp names what is kept quiet, and why.
set -euo pipefail
cd "$(dirname "$0")/.."
source_dir=$PWD
mkdir -p "${PARLEY_TSAN_DIR:-build-tsan}"
top=$(cd "${PARLEY_TSAN_DIR:-build-tsan}" && pwd)

scripts/setup.sh

flags='-O1 -g1 -fno-omit-frame-pointer -fsanitize=thread -w'
caf=$top/src/actor-framework
capnp=$top/src/capnproto

version() { dpkg-query -W -f '${source:Version}' "$1"; } # of the source that a package was built from

# A quiet step: its output shows only when it fails. (bash ignores -e inside of it.)
step() {
  local name=$1
  shift
  echo "tsan: $name"
  "$@" >"$top/$name.log" 2>&1 || { tail -40 "$top/$name.log" >&2; return 1; }
}

# apt with one source, deb-src, and all its files below $top.
fetch() {
  local apt=$top/apt site keyring=/usr/share/keyrings/debian-archive-keyring.gpg suite
  suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
  site=$(apt-get indextargets --format '$(SITE) $(RELEASE)' | awk -v s="$suite" '$2 == s {print $1; exit}')
  [ -n "$site" ] || { echo "no source of $suite to derive deb-src from"; return 1; }
  [ -r "$keyring" ] || keyring=
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$top/src"
  echo "deb-src ${keyring:+[signed-by=$keyring] }$site $suite main" >"$apt/sources.list"
  local options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$apt/lists"
    -o "Dir::Cache=$apt/cache" -o "APT::Sandbox::User=$(id -un)")
  apt-get "${options[@]}" update || return
  # Of CAF only upstream's archive: the installed headers differ from it by one include (below).
  (cd "$top/src" &&
    apt-get "${options[@]}" source --download-only --tar-only "actor-framework=$(version libcaf-dev)" &&
    apt-get "${options[@]}" source --download-only "capnproto=$(version libcapnp-dev)") || return
  local package patch
  for package in actor-framework capnproto; do
    mkdir -p "$top/src/$package"
    tar -C "$top/src/$package" --strip-components=1 -xf "$(ls "$top/src/$package"_*.orig.tar.*z* | head -1)" || return
  done
  # Of Debian's patches to Cap'n Proto only what KJ's TLS needs with OpenSSL 3.
  mkdir -p "$top/src/patches"
  tar -C "$top/src/patches" --strip-components=2 -xf "$(ls "$top"/src/capnproto_*.debian.tar.* | head -1)" debian/patches || return
  for patch in "$top"/src/patches/*ssl*.patch; do
    [ -e "$patch" ] || continue
    (cd "$top/src/capnproto" && GIT_CEILING_DIRECTORIES=$top/src git apply "$patch") || return
  done
}

if [ ! -e "$top/fetched" ]; then
  step fetch fetch
  touch "$top/fetched"
fi

if [ ! -e "$top/prefix/lib/libcaf_openssl.so" ]; then
  step configure-caf cmake -S "$caf" -B "$top/caf" -G Ninja -DCMAKE_INSTALL_PREFIX="$top/prefix" \
    -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-DNDEBUG \
    -DCMAKE_CXX_FLAGS="$flags -include limits" -DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCAF_LOG_LEVEL=QUIET \
    -DCAF_NO_UNIT_TESTS=yes -DCAF_NO_EXAMPLES=yes -DCAF_NO_TOOLS=yes -DCAF_NO_OPENCL=yes -DCAF_NO_PYTHON=yes
  step build-caf cmake --build "$top/caf" -j 2
  step install-caf cmake --install "$top/caf"
fi

# Only what nodes and clients link.
capnp_parts=(kj kj-async kj-http kj-tls capnp capnp-rpc)
if [ ! -e "$top/capnp/built" ]; then
  # As Debian does: schemas are compiled by the installed tool, with the installed schemas.
  sed -i 's|^set(CAPNP_INCLUDE_DIRECTORY .*|set(CAPNP_INCLUDE_DIRECTORY /usr/include)|' "$capnp/cmake/CapnProtoConfig.cmake.in"
  step configure-capnp cmake -S "$capnp" -B "$top/capnp" -G Ninja -DCMAKE_BUILD_TYPE= -DBUILD_TESTING=OFF \
    -DWITH_OPENSSL=ON -DCMAKE_CXX_FLAGS="$flags -DNDEBUG" -DCMAKE_CXX_COMPILER_LAUNCHER=ccache
  step build-capnp cmake --build "$top/capnp" -j 2 --target "${capnp_parts[@]}"
  touch "$top/capnp/built"
fi

scripts/build.sh "$top/parley" -DPARLEY_SANITIZE=thread -DPARLEY_UNITY=ON \
  -DCMAKE_PREFIX_PATH="$top/prefix" -DCMAKE_CXX_FLAGS="-isystem $top/prefix/include" \
  -DCapnProto_DIR="$top/capnp/cmake" -DCAPNP_EXECUTABLE=/usr/bin/capnp -DCAPNPC_CXX_EXECUTABLE=/usr/bin/capnpc-c++ \
  tests_unit tests_actor

# Its shadow memory and some kernels' address randomisation do not go together.
fixed=()
if setarch -R true 2>/dev/null; then fixed=(setarch -R); fi
export TSAN_OPTIONS="suppressions=$source_dir/tests/tsan.supp:second_deadlock_stack=1:history_size=4${TSAN_OPTIONS:+:$TSAN_OPTIONS}"
[ $# -gt 0 ] || set -- -L '^(unit|actor)$'
cd "$top/parley"
exec "${fixed[@]}" ctest --output-on-failure -j 2 "$@"
