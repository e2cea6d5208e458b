#!/bin/sh
# Runs pytest in a virtual machine: the files of this one, Debian's kernel, and control
# groups of version 2 alone, which a machine that has version 1 can show nothing about.
#
#   run.sh [PYTEST ARGUMENT...]
#
#   WHO         as whom: root, user, or both, one after the other   root user
#   KERNEL      the kernel's package                                linux-image-amd64
#   MEMORY_MB   of the machine                                      4096
#   DEADLINE_S  then it is switched off, and the status is 124      3600
#
# It needs apt, qemu-system-x86, busybox-static and cpio, and as root installs them.
# The kernel is not installed but kept in .machine, and nothing else is written: the
# machine's root are this one's files, read-only, and memory above them. It has no
# network. With /dev/kvm it is fast; without, everything takes some ten times as long.
set -eu

cd "$(dirname "$0")/../.."
: "${WHO:=root user}" "${KERNEL:=linux-image-amd64}"
: "${MEMORY_MB:=4096}" "${DEADLINE_S:=3600}"
here=.make/machine
kernel=.machine/$KERNEL
modules="virtio_pci 9pnet_virtio 9p overlay tun veth dummy"
trial_s=20
child=

main() {
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  trap 'stop 130' INT
  trap 'stop 143' TERM HUP
  install_tools
  [ -e "$kernel/vmlinuz" ] || fetch_kernel
  make_initramfs "$@"
  choose_accelerator
  echo "machine: $KERNEL, $accelerator, $MEMORY_MB MB, at most $DEADLINE_S s"
  status=0
  run "$DEADLINE_S" || status=$?
  exit "$(status_in_the_machine $status)"
}

install_tools() {
  missing=
  command -v qemu-system-x86_64 >/dev/null || missing="$missing qemu-system-x86"
  [ -x /bin/busybox ] || missing="$missing busybox-static"
  command -v cpio >/dev/null || missing="$missing cpio"
  [ -n "$missing" ] || return 0
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || fail "install$missing"
  echo "installing$missing"
  apt-get update -qq
  # Words, not one: each is a package.
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
    $missing >/dev/null
}

fetch_kernel() {
  # What is asked for has no files, but the name of what has them.
  package=$(apt-cache depends "$KERNEL" | sed -n 's/^ *Depends: \(linux-image-\)/\1/p')
  mkdir -p "$kernel" "$work/package"
  (cd "$work" && apt-get download -q -o APT::Sandbox::User= "${package:-$KERNEL}") ||
    fail "no package ${package:-$KERNEL}"
  dpkg-deb -x "$work"/*.deb "$work/package"
  version=$(ls "$work/package/lib/modules")
  busybox depmod -b "$work/package" "$version"
  cp -r "$work/package/lib" "$kernel/"
  # Last: who finds it, finds all.
  cp "$work/package/boot/vmlinuz-$version" "$kernel/vmlinuz"
}

make_initramfs() {
  root=$work/root
  mkdir -p "$root"/bin "$root"/proc "$root"/dev "$root"/host "$root"/memory "$root"/new
  cp /bin/busybox "$root/bin/"
  cp "$here/init" "$root/"
  echo "$modules" >"$root/modules"
  mkdir "$root/task"
  cp "$here/inside.sh" "$here/end.sh" "$root/task/"
  pwd -P >"$root/task/project"
  echo "$WHO" >"$root/task/who"
  printf '%s\n' "$@" >"$root/task/arguments"
  copy_modules "$root"
  (cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initramfs"
}

copy_modules() {
  version=$(ls "$kernel/lib/modules")
  from=$kernel/lib/modules/$version
  to=$1/lib/modules/$version
  mkdir -p "$to"
  cp "$from/modules.dep" "$from/modules.builtin" "$to/"
  for module in $modules; do
    # `a.ko: b.ko c.ko`: itself, and what it needs.
    for file in $(sed -n "s|^\([^:]*/$module\.ko[^:]*\):|\1|p" "$from/modules.dep"); do
      mkdir -p "$to/$(dirname "$file")"
      cp "$from/$file" "$to/$file"
    done
  done
}

choose_accelerator() {
  # That there is /dev/kvm does not say that this kernel starts in it.
  accelerator=kvm
  if [ -w /dev/kvm ] && grep -qwE "svm|vmx" /proc/cpuinfo; then
    status=0
    run "$trial_s" trial >"$work/trial" 2>&1 || status=$?
    [ "$(status_in_the_machine $status)" != 0 ] || return 0
    echo "machine: $KERNEL does not start by /dev/kvm here"
  fi
  accelerator=tcg
}

run() {
  # run SECONDS [WORD FOR THE KERNEL]; qemu's exit status. It is in the background, as a
  # shell hears of no signal while it waits for what is not.
  processor=max,la57=off words="mitigations=off patience=6"
  if [ $accelerator = kvm ]; then
    # What nested machines do not let through.
    processor=host,-arch-capabilities words=
  fi
  [ -t 1 ] || words="$words plain"
  setpriv --pdeathsig TERM timeout --kill-after 5 "$1" qemu-system-x86_64 \
    -accel $accelerator -cpu $processor -smp "$(nproc)" -m "$MEMORY_MB" \
    -nodefaults -no-user-config -display none -no-reboot -serial stdio \
    -kernel "$kernel/vmlinuz" -initrd "$work/initramfs" \
    -append "console=ttyS0 loglevel=1 panic=-1 $words ${2:-}" \
    -device isa-debug-exit,iobase=0xf4,iosize=1 \
    -fsdev local,id=host,path=/,security_model=none,readonly=on,multidevs=remap \
    -device virtio-9p-pci,fsdev=host,mount_tag=host </dev/null &
  child=$!
  wait $child
}

status_in_the_machine() {
  # isa-debug-exit makes 2 n + 1 of n, 1 is qemu's own failure: so `end.sh` adds 16.
  if [ "$1" -ge 33 ] && [ "$1" -lt 124 ]; then
    echo $((($1 - 33) / 2))
  elif [ "$1" = 124 ]; then
    echo 124
  else
    # It did not get to its end, and 0 would not say so.
    echo 70
  fi
}

stop() {
  [ -z "$child" ] || kill "$child" 2>/dev/null || true
  wait
  exit "$1"
}

fail() {
  echo "machine: $*" >&2
  exit 69
}

main "$@"
