# JupyterLab's terminals start here: in the kit's folder, whatever folder the file browser shows,
# and with the Python that has everything installed.
if [ -f ~/.bashrc ]; then . ~/.bashrc; fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# On a hub the kit is everybody's, and they stay where they are: in the home.
if [ -w "$root" ]; then cd "$root" || return; fi
if [ -d "$root/.venv/bin" ]; then PATH="$root/.venv/bin:$PATH"; fi
unset root
