#!/usr/bin/env bash
# Starts Ray on this machine, or finds the one that runs already.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: tools/start-ray.sh [--check] [--verbose] [--stop] [--help]

Starts a small Ray on this machine (no dashboard, 80 MiB object store), unless one is running.
What fans out attaches to it: rollouts with workers, training from log shards, RLlib in a notebook.
Each starts seconds sooner than with a Ray of its own. A policy server needs none.

  --check     only look: exit code 0 if Ray is running, 1 if not; starts nothing
  --verbose   say what was found: address, CPUs, memory, versions
  --stop      stop the Ray that runs on this machine
TEXT
}

check=false verbose=false stop=false
for option in "$@"; do
  case "$option" in
    --check) check=true ;;
    --verbose) verbose=true ;;
    --stop) stop=true ;;
    --help | -h) usage; exit 0 ;;
    *) echo "start-ray.sh: unknown option $option" >&2; usage >&2; exit 2 ;;
  esac
done

# The environment of the kit if there is one, else whatever `python` is.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ -x "$root/.venv/bin/ray" ]; then PATH="$root/.venv/bin:$PATH"; fi
if ! command -v ray >/dev/null; then
  echo "start-ray.sh: Ray is not installed here; 'make lab' sets up an environment that has it" >&2
  exit 3
fi

# `ray health-check` knows nothing of Ray's token; attaching as a program would is the true test.
look() {
  local options=()
  if $verbose; then options=(--verbose); fi
  PYTHONPATH="$root" timeout 60 python -m serving.ray_cluster "${options[@]}"
}

if $stop; then
  ray stop --grace-period 5 >/dev/null 2>&1 && echo "Ray is stopped."
  exit 0
fi

if look; then exit 0; fi
if $check; then
  echo "Ray is not running; start it with tools/start-ray.sh"
  exit 1
fi
echo "Starting Ray (about ten seconds) ..."
if ! output=$(timeout 60 ray start --head --port="${RAY_PORT:-6379}" \
  --include-dashboard=false --disable-usage-stats --object-store-memory=$((80 * 1024 * 1024)) \
  --num-cpus="$(nproc)" 2>&1); then
  echo "start-ray.sh: Ray did not start:" >&2
  echo "$output" >&2
  exit 4
fi
look
