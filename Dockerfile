# Any image with Python 3.11 or newer and its venv module
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements/build.txt requirements/runtime.txt requirements/
# pip and the build tools stay in this stage; nothing is compiled
RUN python3 -m venv /build \
 && /build/bin/pip install --only-binary :all: --require-hashes -r requirements/build.txt \
 && python3 -m venv --without-pip /opt/digestry \
 && /build/bin/pip --python /opt/digestry install --only-binary :all: --require-hashes -r requirements/runtime.txt
COPY . .
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
 && /build/bin/pip --python /opt/digestry install --no-deps --no-index /dist/*.whl

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="Digestry" \
      org.opencontainers.image.description="A self-hosted OCI registry" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/digestry /opt/digestry
ENV PATH=/opt/digestry/bin:$PATH \
    REGISTRY_HTTP_ADDR=:5000 \
    REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/var/lib/digestry/blobs \
    REGISTRY_DATABASE_URL=sqlite:////var/lib/digestry/registry.db
# Slim images lack the bytecode of Python's own library: importing the commands writes what they need
RUN install -d -o 65532 -g 65532 -m 0700 /var/lib/digestry \
 && python3 -c "import registry.cli.database, registry.cli.fsck, registry.cli.health, registry.cli.serve"
ENV PYTHONDONTWRITEBYTECODE=1

USER 65532:65532
WORKDIR /var/lib/digestry
VOLUME /var/lib/digestry
EXPOSE 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s CMD ["digestry", "health"]
ENTRYPOINT ["digestry"]
CMD ["serve"]
