# syntax=docker/dockerfile:1
# One image for every process and every environment (target `platform`), and a smaller one for model servers alone.
# Nothing in it is fetched without a hash; no compiler, no package installer and no secret is left in it.
ARG PYTHON_IMAGE=python:3.13-slim-trixie
ARG POSTGRES_IMAGE=postgres:18

FROM ${PYTHON_IMAGE} AS base
# LightGBM loads the system's OpenMP; nothing else is missing from the slim image.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/*
# The processes' user. Volumes take over owner and mode of these folders when they are first used.
RUN groupadd --gid 10001 tidemill \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin tidemill \
 && install -d -o tidemill -g tidemill -m 0700 \
    /var/lib/tidemill /var/lib/tidemill/model-server /var/lib/tidemill/scratch /var/lib/tidemill/backups
# Tools that only the stages below need; none of them reaches an image.
FROM base AS tools
ENV PIP_CACHE_DIR=/var/cache/pip
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends binutils \
 && rm -rf /var/lib/apt/lists/*

FROM tools AS platform-packages
COPY requirements/image.lock deploy/image/trim deploy/image/precompile.py /build/
RUN --mount=type=cache,target=/var/cache/pip \
    python -m venv /opt/tidemill \
 && /opt/tidemill/bin/pip install --no-compile --disable-pip-version-check --require-hashes --requirement /build/image.lock \
 && /build/trim /opt/tidemill

FROM tools AS model-server-packages
COPY requirements/model-server.lock deploy/image/trim deploy/image/precompile.py /build/
RUN --mount=type=cache,target=/var/cache/pip \
    python -m venv /opt/tidemill \
 && /opt/tidemill/bin/pip install --no-compile --disable-pip-version-check --require-hashes --requirement /build/model-server.lock \
 && /build/trim /opt/tidemill

# Tidemill itself, as a layer of its own: a change of its code moves a few megabytes and nothing else.
FROM tools AS package
COPY requirements/build.lock /build/
RUN --mount=type=cache,target=/var/cache/pip \
    python -m venv /opt/tidemill \
 && /opt/tidemill/bin/pip install --disable-pip-version-check --require-hashes --requirement /build/build.lock
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN /opt/tidemill/bin/pip wheel --no-deps --no-build-isolation --no-cache-dir --wheel-dir /build . \
 && /opt/tidemill/bin/pip install --no-deps --no-index --no-compile --ignore-installed --prefix /install /build/*.whl \
 && python -m compileall -q --invalidation-mode unchecked-hash -s /install -p /opt/tidemill /install/lib

# pg_dump and pg_restore must not be older than the server, and Debian's are: they come from the server's image.
FROM ${POSTGRES_IMAGE} AS postgresql-client
COPY deploy/image/collect-client /build/
RUN /build/collect-client /opt/postgresql pg_dump pg_restore psql

# What the images begin with: the base without its package installers, Perl (which only those need), character sets for
# other programs than Python, and what only developers read. Deleting in a layer of its own would keep the bytes, so each
# image starts from this as from scratch. dpkg's record of what is installed stays, and stays true: scanners read it.
FROM base AS root
RUN python -m pip uninstall --quiet --yes --root-user-action ignore pip \
 && dpkg --purge --force-remove-essential --force-depends apt libapt-pkg7.0 sqv perl-base \
 && rm -rf /usr/local/lib/python3.*/ensurepip /usr/local/lib/python3.*/test /usr/local/lib/python3.*/idlelib \
    /usr/local/lib/python3.*/pydoc_data /usr/local/lib/python3.*/config-* /usr/local/include /usr/local/share/man \
    /usr/share/man /usr/lib/*/gconv /etc/apt /var/lib/apt /var/cache/apt /var/cache/debconf /var/log/apt

FROM scratch AS runtime
# hadolint ignore=DL3067
COPY --from=root / /
# The root file system is read-only: whatever libraries like to keep goes to the temporary one.
ENV PATH=/opt/tidemill/bin:/opt/postgresql/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 \
    HOME=/tmp \
    XDG_CACHE_HOME=/tmp/.cache \
    MPLCONFIGDIR=/tmp/.matplotlib \
    GIT_PYTHON_REFRESH=quiet \
    MLFLOW_DISABLE_TELEMETRY=true \
    DO_NOT_TRACK=true \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /var/lib/tidemill

FROM runtime AS model-server
COPY --from=model-server-packages /opt/tidemill /opt/tidemill
COPY --from=package /install /opt/tidemill
ARG VERSION=0 REVISION=unknown CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="Tidemill model server" \
      org.opencontainers.image.description="Answers predictions of the Tidemill platform" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
ENV TIDEMILL_MODEL_SERVER__HOST=0.0.0.0 \
    TIDEMILL_MODEL_SERVER__STATE_DIR=/var/lib/tidemill/model-server \
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
EXPOSE 8001
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["python", "-m", "tidemill.kit.probe", "http://127.0.0.1:8001/readyz"]
CMD ["tidemill", "model-server"]

FROM runtime AS platform
COPY --from=postgresql-client /opt/postgresql /opt/postgresql
COPY --from=platform-packages /opt/tidemill /opt/tidemill
COPY --from=package /install /opt/tidemill
ARG VERSION=0 REVISION=unknown CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="Tidemill" \
      org.opencontainers.image.description="The self-hosted closed loop for machine learning on tables" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
ENV TIDEMILL_DATA_DIR=/var/lib/tidemill \
    TIDEMILL_API__HOST=0.0.0.0 \
    TIDEMILL_MODEL_SERVER__HOST=0.0.0.0 \
    TIDEMILL_MODEL_SERVER__STATE_DIR=/var/lib/tidemill/model-server \
    TIDEMILL_WORKER__HOST=0.0.0.0 \
    TIDEMILL_WORKER__SCRATCH_DIR=/var/lib/tidemill/scratch
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["python", "-m", "tidemill.kit.probe", "http://127.0.0.1:8000/readyz"]
CMD ["tidemill", "api"]
