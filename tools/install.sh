#!/usr/bin/env bash
# Makes .venv, and installs requirements.lock and the kit into it. `make` calls this.
#
#   GPU=1            the torch that pip chooses, which on Linux is built for graphics cards
#   BASE_PYTHON=...  the Python to take, instead of the newest that is found
#
# Called again, it installs what is missing: what was interrupted is resumed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON=.venv/bin/python
UV=uv==0.13.9  # where there is none, it is fetched to be asked one question, and removed again
USABLE='import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))'

# The newest Python for which all of the lock has wheels. A name alone says little: it may be
# another version, an empty shim of pyenv's, or lack venv.
find_python() {
  local name
  for name in ${BASE_PYTHON:-python3.14 python3.13 python3.12 python3.11 python3 python}; do
    if "$name" -c "$USABLE" 2>/dev/null; then echo "$name"; return; fi
  done
  return 1
}

# By uv where it is there and gets along, else by pip: uv does not read what pip is set up with.
install() {
  if command -v uv >/dev/null && uv pip install --python "$PYTHON" "$@"; then return; fi
  "$PYTHON" -m pip install --disable-pip-version-check "$@"
}

# torch's CPU build comes from an index of PyTorch's own, whose address uv knows. It is asked once,
# and does not have to answer: then torch comes with the rest, as pip chooses.
install_cpu_torch() {
  local pin folder uv
  pin=$(grep '^torch==' requirements.lock)
  [ "$(uname -s)" = Linux ] && [ -z "${GPU:-}" ] && [ -z "${PIP_EXTRA_INDEX_URL:-}" ] || return 0
  "$PYTHON" -c "import importlib.metadata as m; assert m.version('torch').split('+')[0] == '${pin#*==}'" \
    2>/dev/null && return
  folder=$(mktemp -d)
  uv=$(command -v uv) || {
    "$PYTHON" -m pip install --disable-pip-version-check --quiet --target="$folder" "$UV" || true
    uv=$folder/bin/uv
  }
  local torch=(pip install --python "$PYTHON" --torch-backend=cpu --no-deps "$pin")
  if [ -x "$uv" ] && UV_HTTP_TIMEOUT=5 UV_HTTP_RETRIES=0 \
    timeout 30 "$uv" "${torch[@]}" --dry-run >/dev/null 2>&1; then
    echo "torch: the CPU build (GPU=1 make takes pip's choice)."
    "$uv" "${torch[@]}" || true
  else
    echo "torch: as pip chooses, since PyTorch's index of CPU builds does not answer."
  fi
  rm -rf "$folder"
}

if [ ! -x "$PYTHON" ]; then
  if ! found=$(find_python); then
    echo "There is no Python 3.11 to 3.14 with venv here: install one (on Debian and Ubuntu" \
      "python3-venv, elsewhere from python.org) and call make again." >&2
    exit 1
  fi
  echo "Installing into .venv, this once: about three minutes. It is made by $("$found" -c \
    'import sys; print("Python %d.%d.%d, %s" % (*sys.version_info[:3], sys.executable))')."
  "$found" -m venv .venv
fi
# First exactly what the lock says, checked by the hashes of the files. Then what only some
# platforms need, and torch, which has another file on every index.
install --no-deps --require-hashes -r requirements.hashes
install_cpu_torch
install -r requirements.lock
"$PYTHON" -m pip install --disable-pip-version-check --no-deps --no-build-isolation --editable .
# jsonschema imports this where it is installed, to check addresses in Unicode, of which Jupyter has none;
# it compiles 38 grammars then, for a second, in JupyterLab and in each of nbgrader's commands.
"$PYTHON" -m pip uninstall --disable-pip-version-check --quiet --yes rfc3987-syntax lark
