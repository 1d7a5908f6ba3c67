#!/usr/bin/env bash
# Make .venv with ViDi (editable), all extras and the test tools, at the versions of requirements.lock.
# Does nothing when .venv is already what pyproject.toml and requirements.lock ask for.
#
# PYTHON  interpreter to use (default python3; at least 3.11)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
venv=.venv
stamp=$venv/.vidi-setup

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

command -v "$python" >/dev/null || fail "$python is not installed." "On Debian: apt-get install python3 python3-venv"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version 2>&1) is too old: ViDi needs Python 3.11 or newer." "Name another one: make setup PYTHON=python3.11"

# The folder and the interpreter belong to the key: a virtual environment can be moved to neither another place nor another Python.
key=$({ cat pyproject.toml requirements.lock scripts/setup.sh; pwd; "$python" --version; } | sha256sum | cut -d' ' -f1)
if [ -x $venv/bin/vidi ] && [ "$(cat $stamp 2>/dev/null || true)" = "$key" ]; then
    exit 0
fi

"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python cannot make virtual environments." "On Debian: apt-get install python3-venv"
if [ ! -x $venv/bin/python ] || ! $venv/bin/python -c 'import sys; sys.exit(sys.prefix == sys.base_prefix)' 2>/dev/null; then
    "$python" -m venv --clear $venv
fi
rm -f $stamp

pinned() { grep -E "^$1==" requirements.lock || fail "requirements.lock does not pin $1"; }
pip="$venv/bin/python -m pip --disable-pip-version-check --no-input"

# What an earlier lock brought and this one does not know goes; what somebody installed by hand stays.
names() { sed -n 's/==.*//p' "$1" | sort; }
if [ -f $venv/.vidi-lock ]; then
    gone=$(comm -23 <(names $venv/.vidi-lock) <(names requirements.lock))
    [ -z "$gone" ] || $pip uninstall --quiet --yes $gone
fi

# torch first and by name alone, so that whatever pip is configured to offer (with or without CUDA) is what everything else builds on.
echo "setup: torch and torchvision (a few minutes, once)" >&2
$pip install --quiet -c requirements.lock "$(pinned torch)" "$(pinned torchvision)"
echo "setup: ViDi with everything it uses" >&2
$pip install --quiet -c requirements.lock -e '.[all,test]'
$venv/bin/vidi --version >&2
cp requirements.lock $venv/.vidi-lock
echo "$key" >$stamp
