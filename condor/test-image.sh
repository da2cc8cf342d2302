#!/usr/bin/env bash
# Builds the image of condor/Dockerfile without a registry and runs the shipped sample in it.
#
#   condor/test-image.sh          build, run, delete the image; the base stays for the next time
#   condor/test-image.sh purge    delete everything
#
# The base is a stand-in for python:slim: Debian 12 with its Python 3.11 by debootstrap, under the
# name that the recipe asks for. Needs root, debootstrap, buildah and 12 GB of disk.
#
#   TEST_IMAGE_ROOT     where images are kept            [/var/lib/flashbrew-image]
#   TEST_IMAGE_MIRROR   Debian mirror                    [http://deb.debian.org/debian]
#   TEST_IMAGE_BIND     more directories to mount read-only while it is built, separated by colons
set -euo pipefail

CLONE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
ROOT=${TEST_IMAGE_ROOT:-/var/lib/flashbrew-image}
MIRROR=${TEST_IMAGE_MIRROR:-http://deb.debian.org/debian}
BASE=docker.io/library/$(sed -n 's/^FROM //p' "$CLONE/condor/Dockerfile")
IMAGE=flashbrew-test
OWNED=.flashbrew-image   # below ROOT: this script made it

die() { echo "test-image.sh: $*" >&2; exit 2; }

# Images of their own, apart from those of this machine's user; every layer a plain directory.
builder() {
  buildah --root "$ROOT/images" --runroot "$ROOT/run" --storage-driver vfs "$@"
}

base() {
  local container
  builder inspect --type image "$BASE" >/dev/null 2>&1 && return
  rm -rf --one-file-system -- "$ROOT/debian"
  debootstrap --variant=minbase --include=ca-certificates,python3,python3-pip bookworm \
    "$ROOT/debian" "$MIRROR" >"$ROOT/debootstrap.log" 2>&1 ||
    die "debootstrap failed, see $ROOT/debootstrap.log"
  rm -f "$ROOT/debian/usr/lib/python3.11/EXTERNALLY-MANAGED"   # the real base has none
  container=$(builder from scratch)
  builder add --quiet "$container" "$ROOT/debian" /
  builder config --env PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin "$container"
  builder commit --quiet --rm "$container" "$BASE"
  rm -rf --one-file-system -- "$ROOT/debian"
}

# Mounts with which packages come from where this machine gets them: what pip and certificates of
# this machine say, and where pip finds wheels on disk.
mounts() {
  local folder
  echo "native-tls = true" >"$ROOT/uv/uv.toml"
  echo "$ROOT/uv:/etc/uv"
  for folder in /etc/pip.conf /root/.config/pip /etc/ssl/certs \
    $(python3 -m pip config get global.find-links 2>/dev/null || true) \
    $(tr ':' ' ' <<<"${TEST_IMAGE_BIND:-}"); do
    if [ -e "$folder" ]; then echo "$folder:$folder"; fi
  done
}

build() {
  local volumes=() mount
  while IFS= read -r mount; do volumes+=(--volume "$mount:ro"); done < <(mounts)
  builder bud --quiet --isolation chroot --pull-never --layers=false "${volumes[@]}" \
    -f "$CLONE/condor/Dockerfile" -t "$IMAGE" "$CLONE" >"$ROOT/build.log" 2>&1 ||
    die "the build failed, see $ROOT/build.log: $(tail -n 1 "$ROOT/build.log")"
}

inside() { builder run --isolation chroot --user nobody --env HOME=/tmp "$CONTAINER" -- "$@"; }

try() {
  CONTAINER=$(builder from --pull-never "$IMAGE")
  trap 'builder rm "$CONTAINER" >/dev/null; builder rmi "$IMAGE" >/dev/null' EXIT
  inside flashbrew --list >/dev/null
  inside flashbrew flashsim --executor dask --workers 1 --output /tmp/out >"$ROOT/run.log" 2>&1 ||
    die "the shipped sample failed, see $ROOT/run.log: $(tail -n 1 "$ROOT/run.log")"
  tail -n 1 "$ROOT/run.log"
}

# Refuse what others put at ROOT: it would be deleted.
check_owned() {
  if [ -e "$ROOT/$OWNED" ]; then return; fi
  [ -z "$(ls -A "$ROOT" 2>/dev/null)" ] ||
    die "$ROOT is in use and not known to be made by test-image.sh; name another TEST_IMAGE_ROOT," \
      "or, where an older test-image.sh made it: touch $ROOT/$OWNED"
}

[ "$(id -u)" -eq 0 ] || die "needs root (chroot, mounts while an image is built)"
case "$ROOT" in /*) ROOT=$(realpath -m -- "$ROOT") ;; esac
case "$ROOT" in
  "$CLONE" | "$CLONE"/*) die "TEST_IMAGE_ROOT=$ROOT lies inside the clone; name another place" ;;
  /*/*) ;;
  *) die "TEST_IMAGE_ROOT=$ROOT must be an absolute path, two levels deep at least" ;;
esac
for tool in buildah debootstrap; do
  command -v "$tool" >/dev/null || die "needs $tool: apt-get install $tool"
done
case "${1:-}" in
  purge)
    check_owned
    if [ -d "$ROOT" ]; then
      builder rm --all >/dev/null
      builder rmi --all --force >/dev/null
      rm -rf --one-file-system -- "$ROOT"
    fi
    ;;
  "")
    check_owned
    mkdir -p "$ROOT/uv"
    touch "$ROOT/$OWNED"
    base
    build
    try
    ;;
  *) die "usage: condor/test-image.sh [purge]" ;;
esac
