#!/usr/bin/env bash
# `make image`: builds the Dockerfile and runs the result, without a container engine and without a registry.
#
# buildah works in a chroot, so it needs root and no daemon. The base image is made from Debian's packages where none is
# named: BASE=python:3.13-slim takes one from a registry instead. Everything lies under build/image; the base is kept, so that
# only the first time takes minutes. SUITE is the Debian release of the base.
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
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}" >&2
}

[ "$(id -u)" = 0 ] || { say "make image needs root: buildah works in a chroot here. With an engine: docker build ."; exit 77; }
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
  debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$SUITE" "$OUT/rootfs" >"$OUT/debootstrap.log"
  rm -rf "$OUT"/rootfs/var/cache/apt/* "$OUT"/rootfs/var/lib/apt/lists/* "$OUT"/rootfs/usr/share/{doc,man,locale}/*
  tar --create --one-file-system --directory "$OUT/rootfs" --file "$OUT/base-$SUITE.tar.part" .
  mv "$OUT/base-$SUITE.tar.part" "$OUT/base-$SUITE.tar"
  rm -rf "$OUT/rootfs"
}

if [ -z "${BASE:-}" ]; then
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
in_store build --isolation chroot --format docker --pull-never --signature-policy "$OUT/policy.json" "${mounts[@]}" \
  --build-arg "BASE=$BASE" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" --tag "localhost/$NAME:$version" . \
  >"$OUT/build.log" 2>&1 || { tail -n 40 "$OUT/build.log" >&2; exit 1; }

# Does it run, as whom, and without writing?
container="$(in_store from --pull-never --signature-policy "$OUT/policy.json" "localhost/$NAME:$version")"
trap 'in_store rm "$container" >/dev/null' EXIT
inside() { in_store run --isolation chroot --user 65532:65532 "$container" -- "$@"; }
say "user: $(inside id -u)  $(inside reconciler --version)  $(inside git --version)"
inside python3 -c 'import apprise, jinja2, prometheus_client, sse_starlette, starlette, uvicorn'
mounted="$(in_store mount "$container")"
inside reconciler watch --help >/dev/null
inside reconciler health >/dev/null 2>&1 && { say "health says that nothing is well"; exit 1; }
if find "$mounted/opt/reconciler" "$mounted/usr" -newer "$OUT/build.log" -type f | grep -q .; then
  say "running it wrote into the image"; exit 1
fi
in_store inspect --type image "localhost/$NAME:$version" >"$OUT/image.json"
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
