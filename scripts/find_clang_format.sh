#!/usr/bin/env bash
# Prints the name of the clang-format with which the tree is formatted. That is version 14: each version breaks lines in
# its own way, so another one would complain of files that are right, and would rewrite most of the tree. If there is
# none, this says which version was found and how to get 14, and exits with 1.
set -euo pipefail

wanted=14
major() { "$1" --version 2>/dev/null | sed -n 's/.*version \([0-9]*\)\..*/\1/p'; }

for candidate in clang-format-$wanted clang-format; do
  if [ "$(major "$candidate")" = $wanted ]; then
    echo "$candidate"
    exit
  fi
done
found=$(major clang-format || true)
echo "clang-format $wanted is needed, and ${found:-no version} is installed. Debian 12 has $wanted as \`clang-format\`;" \
  "elsewhere \`pipx install clang-format==14.0.6\` installs it. Do not format the tree with another version." >&2
exit 1
