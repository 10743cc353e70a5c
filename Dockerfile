# syntax=docker/dockerfile:1
# The program in a small image: built in one stage, run in another, as nobody, with git for provenance.
# Another base: --build-arg BASE=…
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
COPY requirements/runtime.lock requirements/build.lock requirements/
RUN python3 -m venv /opt/reconciler \
 && /opt/reconciler/bin/python -m pip install --no-cache-dir --require-hashes -r requirements/runtime.lock -r requirements/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY reconciler reconciler
RUN PATH="/opt/reconciler/bin:$PATH" /opt/reconciler/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation . \
 && /opt/reconciler/bin/python -m pip uninstall --yes uv_build pip \
 && /opt/reconciler/bin/python -m compileall -q /opt/reconciler/lib

FROM ${BASE}
LABEL org.opencontainers.image.title="reconciler" \
      org.opencontainers.image.description="Declarative GitOps for model deployments" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN apt-get update \
 && apt-get install --yes --no-install-recommends git ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 65532 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin reconciler
COPY --from=build /opt/reconciler /opt/reconciler
ENV PATH="/opt/reconciler/bin:$PATH" PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /project
ENTRYPOINT ["reconciler"]
CMD ["--help"]
