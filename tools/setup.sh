# Sourced by webui.sh and run_tests.sh:  . tools/setup.sh [EXTRA …]
# Makes .venv in the checkout, installs Easel (with extras) into it once, and puts it first on PATH. A later call finds
# its stamp and installs nothing, as long as pyproject.toml, constraints.txt and the Python are the same.
# TORCH_COMMAND replaces the way torch is installed, e.g. TORCH_COMMAND="pip install torch==2.13.0 --index-url …".

easel_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
easel_python="${python_cmd:-python3}"
easel_venv="$easel_root/.venv"

if ! "$easel_python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "Easel needs Python 3.11 or newer; '$easel_python' is $("$easel_python" --version 2>&1 || true)." >&2
  echo "Install one and name it:  python_cmd=python3.12 $0" >&2
  exit 1
fi

easel_state="$(
  { echo "$easel_root ${TORCH_COMMAND:-}"; "$easel_python" --version; cat "$easel_root"/{pyproject.toml,constraints.txt}; } | cksum
)"

easel_stamped() { [ "$(cat "$easel_venv/.easel-$1" 2>/dev/null)" = "$easel_state" ]; }

easel_install() {
  local constraints="$easel_root/constraints.txt"
  if [ ! -x "$easel_venv/bin/python" ] || [ "$(cat "$easel_venv/.easel-root" 2>/dev/null)" != "$easel_root" ]; then
    "$easel_python" -m venv --clear "$easel_venv" || {
      echo "No virtual environment could be made (on Debian and Ubuntu: apt install python3-venv)." >&2
      return 1
    }
    echo "$easel_root" > "$easel_venv/.easel-root"
  fi
  PATH="$easel_venv/bin:$PATH"
  if [ -n "${TORCH_COMMAND:-}" ]; then
    eval "$TORCH_COMMAND" || return 1
    constraints="$easel_venv/constraints.txt"
    grep -v '^torch==' "$easel_root/constraints.txt" > "$constraints"
  fi
  "$easel_venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --editable "$easel_root${1:+[$1]}" --constraint "$constraints" || return 1
  # spandrel names torchvision, whose build must fit torch's to the version; what we use of spandrel does without it.
  "$easel_venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps spandrel==0.4.2 einops==0.8.2
}

easel_extras="$(IFS=,; echo "$*")"
if ! easel_stamped "${easel_extras:-base}"; then
  echo "Installing Easel into $easel_venv; this happens once and takes some minutes." >&2
  easel_install "$easel_extras" || { echo "Easel could not be installed." >&2; exit 1; }
  echo "$easel_state" | tee "$easel_venv/.easel-base" > "$easel_venv/.easel-${easel_extras:-base}"
fi
export PATH="$easel_venv/bin:$PATH" VIRTUAL_ENV="$easel_venv"
