#!/usr/bin/env bash
# Does all set-up and runs every check and test: what people and CI run.
#   ./run_tests.sh           a sample of every proof (under 10 minutes on 2 cores)
#   ./run_tests.sh --long    the counted proofs too (under 60 minutes)
#   ./run_tests.sh check     only formatting, lint, types and import layers
#   ./run_tests.sh test …    only pytest, with further arguments
set -euo pipefail
cd "$(dirname "$0")"
. tools/setup.sh test
tools/eas_client.sh .venv/eas-client
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1

# Streams in Redis are tested with a real redis-server; without one these tests are skipped, and say so.
if ! command -v redis-server >/dev/null && [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing redis-server for the tests." >&2
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -qq -y redis-server; } >/dev/null ||
    echo "redis-server could not be installed; tests that need it are skipped." >&2
fi

both=(-n 2 --dist loadfile) # two processes, a file's tests in one of them

check() {
  ruff format --check .
  ruff check .
  mypy
  lint-imports
}

# The page's tests drive a real browser; where none can be had they are skipped, and say so.
browser() {
  command -v chromium > /dev/null && return
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get > /dev/null; then
    echo "chromium is not installed: the page's tests will be skipped (on Debian: apt install chromium)" >&2
    return
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -qq -y --no-install-recommends chromium > /dev/null 2>&1 \
    || { apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium > /dev/null; } \
    || echo "chromium could not be installed: the page's tests will be skipped" >&2
}

case "${1:-all}" in
  check) check ;;
  test) shift; browser; exec python -m pytest "$@" ;;
  --long) shift; check; browser; exec python -m pytest "${both[@]}" --timeout 1800 "$@" ;;
  all) check; browser; exec python -m pytest "${both[@]}" -m "not long" ;;
  *) echo "run_tests.sh: unknown word '$1' (check, test, --long)" >&2; exit 2 ;;
esac
