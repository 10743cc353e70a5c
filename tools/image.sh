#!/usr/bin/env bash
# `make image`: builds the Dockerfile and runs the result, without a container engine and without a registry.
#
# buildah works in a chroot, so it needs root and no daemon. The base image is made from Debian's packages where none is
# named: BASE=python:3.13-slim takes one from a registry instead. Everything lies under build/image; the base is kept, so that
# only the first time takes minutes. SUITE is the Debian release of the base.
#
# Ends with 77 where this is not allowed to try, 69 where packages are not to be had; with anything else, the image is wrong.
set -euo pipefail
cd "$(dirname "$0")/.."
SUITE="${SUITE:-bookworm}"
OUT="${OUT:-build/image}"
NAME=reconciler
mkdir -p "$OUT"
OUT="$(cd "$OUT" && pwd)"

say() { printf '%s\n' "$*" >&2; }

need() {
  local missing=()
  for tool in "$@"; do command -v "$tool" >/dev/null || missing+=("$tool"); done
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "make image needs ${missing[*]}; on Debian: apt-get install ${missing[*]}"
    exit 69
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends "${missing[@]}" >"$OUT/apt.log" 2>&1 && return
  tail -n 5 "$OUT/apt.log" >&2
  say "make image needs ${missing[*]}, which could not be installed; \`apt-get update\` first?"
  exit 69
}

# A network, mounts and processes that nobody else sees, and that end with what runs in them.
apart() { unshare --net --mount --pid --fork --kill-child --mount-proc "$@"; }

[ "$(id -u)" = 0 ] || { say "make image needs root: buildah works in a chroot here. With an engine: docker build ."; exit 77; }
apart mount --types tmpfs tmpfs /mnt || { say "make image needs namespaces and mounts, which are not allowed here"; exit 77; }
need buildah

# Storage of its own, the driver that works anywhere, and no rules about signatures for images that are made here.
cat > "$OUT/policy.json" <<<'{"default": [{"type": "insecureAcceptAnything"}]}'
in_store() {
  buildah --root "$OUT/storage" --runroot "$OUT/run" --storage-driver vfs "$@"
}

make_base() {
  need debootstrap
  say "making the base from Debian $SUITE (once)"
  rm -rf "$OUT/rootfs" && mkdir "$OUT/rootfs"
  debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$SUITE" "$OUT/rootfs" >"$OUT/debootstrap.log" 2>&1 ||
    { tail -n 5 "$OUT/debootstrap.log" >&2; say "the base could not be made of Debian's packages"; exit 69; }
  rm -rf "$OUT"/rootfs/var/cache/apt/* "$OUT"/rootfs/var/lib/apt/lists/* "$OUT"/rootfs/usr/share/{doc,man,locale}/*
  tar --create --one-file-system --directory "$OUT/rootfs" --file "$OUT/base-$SUITE.tar.part" .
  mv "$OUT/base-$SUITE.tar.part" "$OUT/base-$SUITE.tar"
  rm -rf "$OUT/rootfs"
}

pull=(--pull)
if [ -z "${BASE:-}" ]; then
  pull=(--pull-never)
  BASE="localhost/reconciler-base:$SUITE"
  [ -e "$OUT/base-$SUITE.tar" ] || make_base
  if ! in_store inspect --type image "$BASE" >/dev/null 2>&1; then
    container="$(in_store from scratch)"
    in_store add --quiet "$container" "$OUT/base-$SUITE.tar" / >/dev/null
    in_store commit --quiet --signature-policy "$OUT/policy.json" --rm "$container" "$BASE" >/dev/null
  fi
fi

# How this machine trusts and finds its package index holds inside too, and stays out of the image.
mounts=(--volume /etc/ssl/certs:/etc/ssl/certs:ro)
[ -e /etc/pip.conf ] && mounts+=(--volume /etc/pip.conf:/etc/pip.conf:ro)

revision="$(git rev-parse HEAD 2>/dev/null || echo unknown)"
version="$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml | head -n 1)"
in_store build --isolation chroot --format docker "${pull[@]}" --signature-policy "$OUT/policy.json" "${mounts[@]}" \
  --build-arg "BASE=$BASE" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" --tag "localhost/$NAME:$version" . \
  >"$OUT/build.log" 2>&1 || { tail -n 40 "$OUT/build.log" >&2; exit 1; }

in_store rmi --prune >/dev/null # the image that had the name before

# What may be found wrong is the image as it would be pulled: the container that is mounted is made anew, and goes again.
container="$(in_store from --pull-never --signature-policy "$OUT/policy.json" "localhost/$NAME:$version")"
trap 'in_store rm "$container" >/dev/null' EXIT
mounted="$(in_store mount "$container")"
in_store inspect --type image "localhost/$NAME:$version" >"$OUT/image.json"
apart python3 tools/try_image.py "$mounted" "$OUT/image.json" "$OUT/try"
if [ -x .venv/bin/python ]; then
  .venv/bin/python tools/sbom.py image --root "$mounted" --out "$OUT/sbom.cdx.json"
  say "bill of materials: $OUT/sbom.cdx.json, $(grep -c '"purl"' "$OUT/sbom.cdx.json") packages"
else
  say "no bill of materials: \`make env\` first"
fi
in_store images --format '{{.Name}}:{{.Tag}} {{.Size}}' "localhost/$NAME:$version"
for folder in / /opt/reconciler /usr/lib/git-core; do
  say "MB in $folder: $(du -sm "$mounted$folder" | cut -f 1)"
done
