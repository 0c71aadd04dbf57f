#!/usr/bin/env bash
# Starts Ray on this machine, or finds the one that runs already.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: tools/start-ray.sh [--check] [--verbose] [--stop] [--help]

Starts a small Ray on this machine (no dashboard, 80 MiB object store), unless one is running.
Policy servers and notebooks attach to it, and so start seconds sooner than with a Ray of their own.

  --check     only look: exit code 0 if Ray is running, 1 if not; starts nothing
  --verbose   say what was found: address, CPUs, memory, versions
  --stop      stop the Ray that this script started
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

running() { timeout 20 ray health-check >/dev/null 2>&1; }

if $stop; then
  if running; then ray stop --grace-period 5 >/dev/null 2>&1; echo "Ray is stopped."; else
    echo "Ray is not running."; fi
  exit 0
fi

if running; then
  echo "Ray is running."
elif $check; then
  echo "Ray is not running; start it with tools/start-ray.sh"
  exit 1
else
  echo "Starting Ray (about ten seconds) ..."
  # Port 0 takes free ones: nothing of another program's is disturbed.
  if ! output=$(RAY_DISABLE_IMPORT_WARNING=1 timeout 60 ray start --head --port="${RAY_PORT:-6379}" \
    --include-dashboard=false --disable-usage-stats --object-store-memory=$((80 * 1024 * 1024)) \
    --num-cpus="$(nproc)" 2>&1); then
    echo "start-ray.sh: Ray did not start:" >&2
    echo "$output" >&2
    exit 4
  fi
  echo "Ray is running."
fi

if $verbose; then
  python - <<'PYTHON'
import platform, warnings
warnings.simplefilter("ignore")
import ray
ray.init(address="auto", logging_level="ERROR", log_to_driver=False)
resources = ray.cluster_resources()
print(f"  address  {ray.get_runtime_context().gcs_address}")
print(f"  CPUs     {resources.get('CPU', 0):.0f}")
print(f"  memory   {resources.get('memory', 0) / 2**30:.1f} GiB")
print(f"  Ray      {ray.__version__}, Python {platform.python_version()}")
PYTHON
fi
