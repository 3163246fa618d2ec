# Sourced by quickstart.sh and test.sh: makes the Python environment in .venv, or takes the one that is there.
#
# ensure_environment [EXTRAS]  installs the project (and its extras) unless the same was installed before, so that a second
# call needs no network; then puts the environment's commands first on the path.

ensure_environment() {
    local extras="${1:-}" python="${PYTHON:-python3}" stamp bin
    if [ ! -d .venv ]; then
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
            echo "error: $("$python" --version 2>&1) is too old or missing; install Python 3.11 or newer, or name one: PYTHON=python3.12 $0" >&2
            exit 2
        }
        echo "making .venv and installing the packages (PyTorch with its GPU libraries: about 5 GB, once)"
        "$python" -m venv .venv
    fi
    bin=.venv/bin
    [ -d "$bin" ] || bin=.venv/Scripts # Windows
    export PATH="$PWD/$bin:$PATH"
    # How long a thread waits actively for another. GNU's default is so long that with another program on one of two cores
    # everything ran six times slower; not at all costs a third of the speed on small images.
    export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-10000}"
    stamp="$(cat pyproject.toml requirements.txt | cksum)"
    if ! grep -qxF "$stamp" ".venv/.installed-${extras:-base}" 2>/dev/null; then
        python -m pip install --quiet --disable-pip-version-check -r requirements.txt ${extras:+-e ".[$extras]"} || {
            python -c 'import cloudkit, trainkit, scpm, thiefcloud, tensorboard, skimage, tyro' || exit 2
            echo "warning: the packages could not be brought up to date; going on with those in .venv" >&2
            return
        }
        echo "$stamp" | tee .venv/.installed-base >".venv/.installed-${extras:-base}"
    fi
}
