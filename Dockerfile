# syntax=docker/dockerfile:1
# The program in a small image: built in one stage, run in another, as nobody, on a root that may be read-only, with git for
# `watch --git` and for provenance. Another base with Python 3.11 or newer: --build-arg BASE=…
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
COPY requirements/runtime.lock requirements/build.lock requirements/
RUN python3 -m venv /opt/reconciler \
 && /opt/reconciler/bin/python -m pip install --no-cache-dir --no-compile --disable-pip-version-check --require-hashes \
    -r requirements/runtime.lock -r requirements/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY reconciler reconciler
# Compiled here, and never looked at again (unchecked): nothing is written at run time, and a copied file's date means nothing.
RUN PATH="/opt/reconciler/bin:$PATH" /opt/reconciler/bin/python -m pip install --no-cache-dir --no-compile --no-deps --no-build-isolation . \
 && /opt/reconciler/bin/python -m pip uninstall --yes uv_build pip \
 && /opt/reconciler/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/reconciler/lib

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="reconciler" \
      org.opencontainers.image.description="Declarative GitOps for model deployments" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The repository is mounted and belongs to somebody else: git is told that this one may be read. Git's version is pinned by the
# base's release; one of Debian's named here would only break the day it is mended.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates git \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log /usr/share/doc /usr/share/man /usr/share/locale \
 && useradd --uid 65532 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin reconciler \
 && install --directory --owner=65532 --group=65532 --mode=0700 /var/lib/reconciler \
 && git config --system --add safe.directory /project
COPY --from=build /opt/reconciler /opt/reconciler
ENV PATH="/opt/reconciler/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/tmp \
    RECONCILER_LOG_LEVEL=info \
    RECONCILER_STATE=/var/lib/reconciler
USER 65532:65532
WORKDIR /project
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["reconciler", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["reconciler"]
CMD ["watch"]
