#!/bin/sh
# What the tests need beside Python: a function's way out to the network, curl, a
# browser, and what makes container images. Installed where we are root and there is apt; elsewhere the tests say what
# they lack.
set -eu

missing=
command -v slirp4netns >/dev/null || missing="$missing slirp4netns"
command -v ip >/dev/null || missing="$missing iproute2"
command -v curl >/dev/null || missing="$missing curl"

# One that has no windows: 64 MB to fetch, and without the desktop of the others. Not
# every distribution has it, and its absence must not keep the other tools away.
browser=
command -v chromium-headless-shell >/dev/null || command -v chromium >/dev/null ||
  command -v google-chrome >/dev/null || browser=chromium-headless-shell

# They download nothing in the tests. Not every distribution has each, either.
images=
for tool in umoci skopeo buildah; do
  command -v "$tool" >/dev/null || images="$images $tool"
done

[ -n "$missing$browser$images" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 0

install() {
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
    "$@" >/dev/null
}

echo "installing$missing $browser$images"
apt-get update -qq
# Words, not one: each is a package.
# shellcheck disable=SC2086
[ -z "$missing" ] || install $missing
[ -z "$browser" ] || install "$browser" ||
  echo "no $browser here: the tests that want a browser will say so"
for tool in $images; do
  install "$tool" || echo "no $tool here: the tests of its images will say so"
done
