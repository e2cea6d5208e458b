#!/bin/sh
# Makes a virtual environment from whatever Python this machine has:
#
#   [PYTHON=python3.12] .make/venv.sh FOLDER PIP-INSTALL-ARGUMENT...
#
# An environment that is there and works is kept, and brought up to date. What the
# machine lacks is installed where we are root and there is apt; otherwise the last
# lines say what to install.
set -eu

# An engine that gives up root must still be able to read what root installed here.
umask 022

main() {
  folder=$1
  shift
  python=${PYTHON:-$(find_python)}
  is_new_enough "$python" || complain_about_python
  "$python" -c 'import ensurepip' 2>/dev/null || install_ensurepip
  has_libseccomp || install_libseccomp
  is_usable "$folder" || make_anew "$folder"
  echo "$folder: installing, about a minute the first time"
  "$folder/bin/python" -m pip install \
    --disable-pip-version-check --no-input --quiet "$@"
}

find_python() {
  # Twice: first only those which an engine that has given up root can read, too.
  for fits in is_for_everyone is_new_enough; do
    for name in python3.11 python3.12 python3.13 python3.14 python3 /usr/bin/python3; do
      if is_new_enough "$name" && "$fits" "$name"; then
        echo "$name"
        return
      fi
    done
  done
}

is_new_enough() {
  # Run, not looked up: a pyenv shim exists even for a version that is not active.
  "${1:-false}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

is_for_everyone() {
  # Not in a home directory that others may not enter, as root's is.
  "$1" - <<'PYTHON'
import pathlib, sys
home = pathlib.Path(sys.base_prefix).resolve()
sys.exit(not all(folder.stat().st_mode & 0o001 for folder in (home, *home.parents)))
PYTHON
}

has_libseccomp() {
  # pyseccomp looks for the library in this way, so being there is not enough.
  "$python" -c 'import sys; from ctypes.util import find_library
sys.exit(find_library("seccomp") is None)'
}

is_usable() {
  # One that was copied here with its tree still points at where it came from.
  grep -qsF " $(pwd -P)/$1" "$1/pyvenv.cfg" &&
    "$1/bin/python" -m pip --version >/dev/null 2>&1
}

make_anew() {
  echo "$1: making it with $("$python" -c 'import sys
print(sys.executable, sys.version.split()[0])')"
  "$python" -m venv --clear "$1"
}

install_ensurepip() {
  # Debian keeps it in a package of its own; without it a venv gets no pip.
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  install "python$version-venv" "Python's ensurepip module"
}

install_libseccomp() {
  install libseccomp2 "libseccomp.so.2"
  has_libseccomp || fail "libseccomp2 is installed, but Python does not find it: is ldconfig there?"
}

install() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || fail \
    "$2 is missing. On Debian or Ubuntu, as root: apt-get install $1" \
    "(elsewhere: the package that has it), then run make again."
  echo "$2 is missing: installing $1"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq -y --no-install-recommends "$1" >/dev/null
}

complain_about_python() {
  fail "Sandlot needs Python 3.11 or newer${python:+, and $python is not that}." \
    "On Debian or Ubuntu, as root: apt-get install python3 python3-venv" \
    "If you have one elsewhere: make PYTHON=/path/to/python3.12"
}

fail() {
  printf '%s\n' "$@" >&2
  exit 1
}

main "$@"
