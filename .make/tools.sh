#!/bin/sh
# What the tests of a function's way out to the network need beside Python. Installed
# where we are root and there is apt; elsewhere those tests say what they lack.
set -eu

missing=
command -v slirp4netns >/dev/null || missing="$missing slirp4netns"
command -v ip >/dev/null || missing="$missing iproute2"
[ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 0

echo "installing$missing"
apt-get update -qq
# Words, not one: each is a package.
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
  $missing >/dev/null
