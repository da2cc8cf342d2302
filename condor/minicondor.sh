#!/usr/bin/env bash
# A real HTCondor pool of one machine, for tests: Debian 13's minicondor in a chroot.
#
#   condor/minicondor.sh up              install (once) and start it
#   condor/minicondor.sh able            0 where this machine can have one; else says why not
#   condor/minicondor.sh status          0 where jobs can run, 1 where not
#   condor/minicondor.sh run COMMAND     run as an ordinary user inside, in the clone's directory
#   condor/minicondor.sh down            stop it, unmount everything
#   condor/minicondor.sh purge           down, then delete the chroot
#
# Needs root, and debootstrap with a Debian mirror for the first `up`. The clone, the virtual
# environment and the interpreter are mounted read-only at their own paths; HOME (/home/brewer) is
# writable and lies below ROOT on this machine.
#
#   MINICONDOR_ROOT     the chroot, outside the clone   [/var/lib/flashbrew-minicondor]
#                       (new or empty, or made by this script: it is deleted by `purge`)
#   MINICONDOR_PYTHON   interpreter of the environment  [.venv/bin/python of the clone]
#   MINICONDOR_MIRROR   Debian mirror                   [http://deb.debian.org/debian]
#   MINICONDOR_BIND     more directories to mount read-only, separated by colons
set -euo pipefail

CLONE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
ROOT=${MINICONDOR_ROOT:-/var/lib/flashbrew-minicondor}
PYTHON=${MINICONDOR_PYTHON:-$CLONE/.venv/bin/python}
MIRROR=${MINICONDOR_MIRROR:-http://deb.debian.org/debian}
ACCOUNT=brewer
OWNED=.flashbrew-minicondor        # below ROOT: this script made it
MARKER=etc/flashbrew-minicondor   # below ROOT: the installation is complete
# shared libraries that interpreters built on the host load
LIBRARIES=(libbz2-1.0 libcrypt1 libexpat1 libffi8 liblzma5 libncursesw6 libreadline8t64
  libsqlite3-0 libssl3t64 libuuid1 zlib1g)

die() { echo "minicondor.sh: $*" >&2; exit 2; }

# Mount points at or below ROOT, deepest first.
mounts() {
  awk -v root="$ROOT" '$5 == root || index($5, root "/") == 1 {print $5}' /proc/self/mountinfo |
    sort -r
}

# Processes whose root directory is the chroot: what this pool started, and nothing else.
processes() {
  local root
  for root in /proc/[0-9]*/root; do
    if [ "$(readlink "$root" 2>/dev/null)" = "$ROOT" ]; then
      basename "$(dirname "$root")"
    fi
  done
}

inside() { chroot "$ROOT" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"; }

running() { [ -x "$ROOT/usr/bin/condor_status" ] && [ -n "$(slots)" ]; }

slots() { inside condor_status -af Name 2>/dev/null || true; }

unmount() {
  local point
  # a mount point may be stacked: one pass removes one layer
  while [ -n "$(mounts)" ]; do
    for point in $(mounts); do
      umount "$point" || die "$point is busy; end what uses it, then run this again"
    done
  done
}

stop() {
  local pids i
  if [ -n "$(processes)" ]; then
    inside condor_off -fast -master >/dev/null 2>&1 || true
  fi
  for i in $(seq 100); do
    pids=$(processes)
    [ -n "$pids" ] || return 0
    if [ "$i" -eq 50 ]; then kill -TERM $pids 2>/dev/null || true; fi
    if [ "$i" -eq 80 ]; then kill -KILL $pids 2>/dev/null || true; fi
    sleep 0.2
  done
  die "processes $pids do not end"
}

# Delete the chroot. Everything is unmounted before, and what is mounted anyway is not entered.
delete() {
  [ -z "$(mounts)" ] || die "$ROOT still has mounts; nothing is deleted"
  rm -rf --one-file-system -- "$ROOT"
}

install_pool() {
  command -v debootstrap >/dev/null || die "needs debootstrap: apt-get install debootstrap"
  if [ -d "$ROOT" ]; then delete; fi
  mkdir -p "$ROOT"
  touch "$ROOT/$OWNED"
  debootstrap --variant=minbase --include=ca-certificates trixie "$ROOT" "$MIRROR" >"$ROOT.log" 2>&1 ||
    die "debootstrap failed, see $ROOT.log"
  printf '#!/bin/sh\nexit 101\n' >"$ROOT/usr/sbin/policy-rc.d"   # no services from packages
  chmod 755 "$ROOT/usr/sbin/policy-rc.d"
  mount_all
  { inside apt-get update && inside DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends minicondor "${LIBRARIES[@]}"; } >>"$ROOT.log" 2>&1 ||
    die "installing minicondor failed, see $ROOT.log"
  inside useradd --create-home --shell /bin/bash "$ACCOUNT"
  touch "$ROOT/$MARKER"
}

# Mount a directory of this machine at its own path; a third argument mounts it writable.
bind() {
  local source=$1 target=$ROOT$1
  mkdir -p "$target"
  mount --bind "$source" "$target"
  mount --make-private "$target"
  [ "${2:-ro}" = rw ] || mount -o remount,bind,ro "$target"
}

mount_all() {
  mount --bind "$ROOT" "$ROOT"       # jobs unshare their mounts: the root must be a mount point
  mount --make-private "$ROOT"       # whose changes stay here
  for point in /proc /sys /dev /dev/shm /dev/pts; do bind "$point" rw; done
}

mount_project() {
  local folder parent
  while IFS= read -r folder; do
    bind "$folder"
    for ((parent = 1; parent; )); do    # /root is closed to others: open the copies on the way
      folder=$(dirname "$folder")
      [ "$folder" = / ] && parent=0 || chmod a+x "$ROOT$folder"
    done
  done < <(folders)
}

# What jobs need of this machine: clone, environment, interpreter.
folders() {
  {
    echo "$CLONE"
    "$PYTHON" -c 'import sys; print(sys.prefix, sys.base_prefix, sep="\n")'
    tr ':' '\n' <<<"${MINICONDOR_BIND:-}"
  } | awk 'NF && !seen[$0]++ {folder[++n] = $0}
    END {   # what lies below another one comes with it
      for (i = 1; i <= n; i++) {
        for (j = 1; j <= n && index(folder[i], folder[j] "/") != 1; j++);
        if (j > n) print folder[i]
      }
    }'
}

configure() {
  local folder port
  port=$("$PYTHON" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
  cat >"$ROOT/etc/condor/config.d/99-flashbrew" <<CONFIG
NETWORK_INTERFACE = 127.0.0.1
CONDOR_HOST = 127.0.0.1
COLLECTOR_HOST = 127.0.0.1:$port
SHARED_PORT_PORT = $port
NUM_CPUS = 4
NEGOTIATOR_INTERVAL = 2
NEGOTIATOR_MIN_INTERVAL = 1
NEGOTIATOR_CYCLE_DELAY = 1
SCHEDD_INTERVAL = 2
SCHEDD_MIN_INTERVAL = 1
MOUNT_UNDER_SCRATCH =
CONFIG
  cp /etc/hosts "$ROOT/etc/hosts"
  for folder in run/condor run/lock/condor var/lock/condor var/log/condor \
    var/lib/condor/spool var/lib/condor/execute; do
    mkdir -p "$ROOT/$folder"
    inside chown condor:condor "/$folder"
  done
}

start() {
  local i
  inside condor_master
  for i in $(seq 150); do
    running && return 0
    sleep 0.2
  done
  die "no slot after 30 s; see $ROOT/var/log/condor"
}

check() {
  [ "$(id -u)" -eq 0 ] || die "needs root (chroot, mount); the pool's jobs run as user $ACCOUNT"
  # the kernel lists mounts and processes under the one name that has no link in it
  case "$ROOT" in /*) ROOT=$(realpath -m -- "$ROOT") ;; esac
  case "$ROOT" in
    *[[:space:]\\]*) die "MINICONDOR_ROOT=$ROOT must hold no space and no backslash" ;;
    "$CLONE" | "$CLONE"/*) die "MINICONDOR_ROOT=$ROOT lies inside the clone; name another place" ;;
    /*/*) ;;
    *) die "MINICONDOR_ROOT=$ROOT must be an absolute path, two levels deep at least" ;;
  esac
}

# Refuse what others put at ROOT: it would be unmounted and deleted.
check_owned() {
  if [ -e "$ROOT/$OWNED" ] || [ -e "$ROOT/$MARKER" ]; then return; fi
  [ -z "$(mounts)" ] && [ -z "$(ls -A "$ROOT" 2>/dev/null)" ] ||
    die "$ROOT is in use and not known to be made by minicondor.sh; name another MINICONDOR_ROOT," \
      "or, where an installation by an older minicondor.sh broke off: touch $ROOT/$OWNED"
}

check_python() {
  "$PYTHON" -c '' 2>/dev/null || die "$PYTHON does not run; set MINICONDOR_PYTHON (or: make install)"
  case "$("$PYTHON" -c 'import sys; print(sys.base_prefix)')" in
    /usr | /) die "$PYTHON is the system's own interpreter, which cannot be mounted into another" \
      "Debian; use one that lies elsewhere (pyenv, uv python)" ;;
  esac
}

# What `up` needs of this machine, asked before anything is made.
able() {
  local folder
  check_python
  folder=$(mktemp -d)
  if ! mount --bind "$folder" "$folder" 2>/dev/null; then
    rmdir "$folder"
    die "mounts are not permitted here"
  fi
  umount "$folder"
  rmdir "$folder"
  [ ! -e "$ROOT/$MARKER" ] || return 0
  command -v debootstrap >/dev/null || die "needs debootstrap: apt-get install debootstrap"
  "$PYTHON" - "$MIRROR" <<'FETCH' 2>/dev/null || die "the Debian mirror $MIRROR does not answer"
import sys, urllib.request
urllib.request.urlopen(f"{sys.argv[1]}/dists/trixie/Release", timeout=30).read(1)
FETCH
}

up() {
  check_python
  if running; then
    if ! cmp -s <(folders) "$ROOT/$MARKER"; then
      die "the pool in $ROOT was started for another clone or environment; run 'down' first"
    fi
    echo "already up in $ROOT"
    return
  fi
  stop
  unmount                              # what a pool that was killed left behind
  if [ -e "$ROOT/$MARKER" ]; then mount_all; else install_pool; fi
  mount_project
  configure
  start
  folders >"$ROOT/$MARKER"
  echo "up in $ROOT: $(slots | tr '\n' ' ')"
}

down() {
  stop
  unmount
  echo "down"
}

run() {
  running || die "the pool is not up"
  [ $# -gt 0 ] || die "run needs a COMMAND"
  exec chroot --userspec="$ACCOUNT" --groups="$ACCOUNT" "$ROOT" /usr/bin/env -i \
    HOME="/home/$ACCOUNT" USER="$ACCOUNT" LC_ALL=C.UTF-8 PATH="$(dirname "$PYTHON"):/usr/bin:/bin" \
    PYTHONDONTWRITEBYTECODE=1 NUMBA_CACHE_DIR="/home/$ACCOUNT/.cache/numba" \
    MPLCONFIGDIR="/home/$ACCOUNT/.cache/matplotlib" \
    sh -c 'cd "$1" && shift && exec "$@"' sh "$CLONE" "$@"
}

check
case "${1:-}" in up | down | purge) check_owned ;; esac
case "${1:-}" in
  up) up ;;
  able) able ;;
  down) down ;;
  purge) down && delete ;;
  status) if running; then echo "up in $ROOT: $(slots | tr '\n' ' ')"; else echo "down"; exit 1; fi ;;
  run) shift; run "$@" ;;
  *) die "usage: condor/minicondor.sh up|able|status|run COMMAND|down|purge" ;;
esac
