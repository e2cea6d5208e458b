#!/bin/sh
# In the machine, as its first process: control groups as systemd has them, version 2
# and nothing else, and pytest in there, as root and as a user with a group of his own.
set -eu
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LANG=C.UTF-8 HOME=/run/home PYTHONDONTWRITEBYTECODE=1
task=/run/machine
groups=/sys/fs/cgroup
user=990071

main() {
  prepare
  cd "$(cat $task/project)"
  echo "Linux $(uname -r), cgroup v2: $(cat $groups/cgroup.controllers)"
  set -- -p no:cacheprovider
  patience=$(sed -n 's/.*patience=\([0-9]*\).*/\1/p' /proc/cmdline)
  if [ -n "$patience" ]; then
    export SANDLOT_TEST_PATIENCE="$patience"
    set -- "$@" -o timeout=$((60 * patience))
  fi
  ! grep -qw plain /proc/cmdline || set -- "$@" --color=no
  while IFS= read -r argument; do
    set -- "$@" "$argument"
  done <$task/arguments
  status=0
  for who in $(cat $task/who); do
    echo "As $who:"
    "as_$who" "$@" || status=$?
  done
  exec sh $task/end.sh $status
}

prepare() {
  stty -onlcr
  mkdir -p $HOME /dev/pts /dev/shm
  mount -t sysfs sys /sys
  mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 $groups
  echo +memory +cpu +pids >$groups/cgroup.subtree_control
  mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
  mount -t tmpfs -o mode=1777 shm /dev/shm
  chmod 666 /dev/net/tun
  ip link set lo up
  ulimit -n 65536
  # As systemd has it.
  echo 4194304 >/proc/sys/kernel/pid_max
}

as_root() (
  # Beside a shell, as in any session.
  mkdir $groups/session
  echo 0 >$groups/session/cgroup.procs
  .venv/bin/python -m pytest "$@"
)

as_user() (
  # Beside nobody, in a group that is the user's: what Delegate=yes makes.
  folder=$groups/user-$user
  # What tests keep from one run to the next is root's here.
  export HOME=/run/home-$user HYPOTHESIS_STORAGE_DIRECTORY=/run/home-$user/hypothesis
  mkdir $folder $HOME
  chown $user $HOME $folder
  for file in procs subtree_control threads; do
    chown $user $folder/cgroup.$file
  done
  # Nobody else is here, and the host does not see it.
  path=$PWD
  while [ "$path" != / ]; do
    chmod o+x "$path"
    path=$(dirname "$path")
  done
  # shellcheck disable=SC2016 # the inner shell's
  exec sh -c 'echo 0 >"$0/cgroup.procs"; exec "$@"' $folder \
    setpriv --reuid $user --regid $user --clear-groups \
    .venv/bin/python -m pytest "$@"
)

main
