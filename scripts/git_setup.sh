#!/usr/bin/env bash
# Installs the hooks of this repository into your clone:
#
#   commit-msg    refuses a subject above 72 columns or without an area, as tests/tidy does later
#
# A hook of your own is left alone: then this script says so and changes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

hooks=$(git rev-parse --git-path hooks)
hook=$hooks/commit-msg
mark="# installed by scripts/git_setup.sh"
if [ -e "$hook" ] && ! grep -qF "$mark" "$hook"; then
  echo "git_setup: $hook is there already and is not ours: nothing was changed" >&2
  exit 1
fi

mkdir -p "$hooks"
cat >"$hook" <<'HOOK'
#!/usr/bin/env bash
# installed by scripts/git_setup.sh
export LC_ALL=C.UTF-8
IFS= read -r subject <"$1" || true
case $subject in
  'Merge '* | 'fixup! '* | 'squash! '* | 'amend! '*) exit 0 ;;
esac
refuse() {
  echo "commit-msg: the subject $1" >&2
  echo "  $subject" >&2
  echo "A subject is \"area: what it does\", at most 72 columns; CONTRIBUTING.md lists the areas." >&2
  exit 1
}
[[ $subject =~ ^[A-Za-z][A-Za-z0-9_\ /,-]*:\ [^\ ] ]] || refuse "has no area"
[ ${#subject} -le 72 ] || refuse "has ${#subject} columns"
HOOK
chmod +x "$hook"
echo "commit-msg checks subjects from now on: $hook"
