#!/usr/bin/env bash
# Starts Easel; the first start makes .venv beside this file and installs into it.
#   ./webui.sh --listen --port 8000      every flag: ./webui.sh --help
# COMMANDLINE_ARGS holds more flags; TORCH_COMMAND replaces how torch is installed; webui-user.sh may set both.
# --skip-prepare-environment (or --skip-install) installs nothing.
set -euo pipefail
here="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)"
if [ -f "$here/webui-user.sh" ]; then . "$here/webui-user.sh"; fi

prepare=yes
for word in "$@" ${COMMANDLINE_ARGS:-}; do
  case "$word" in --skip-prepare-environment | --skip-install) prepare=no ;; esac
done

if [ "$prepare" = yes ]; then
  . "$here/tools/setup.sh" "" # no extras; without an argument it would be given ours
  python="$here/.venv/bin/python"
else
  python="$here/.venv/bin/python"
  [ -x "$python" ] || python="${python_cmd:-python3}"
  export PYTHONPATH="$here/core${PYTHONPATH:+:$PYTHONPATH}"
fi
export COMMANDLINE_ARGS="${COMMANDLINE_ARGS:-}" # webui-user.sh may have set it
exec "$python" -m easel serve "$@"
