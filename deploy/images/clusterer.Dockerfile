# The clusterer of ViDi. Build from the repository's root:
#   docker build -f deploy/images/clusterer.Dockerfile --build-arg BASE_IMAGE=python:3.11-slim-bookworm@sha256:... -t vidi-clusterer:0.1.0 .
# Production names the base image by digest; any Debian 12 with Python 3.11 and venv will do.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/vidi
WORKDIR /src
COPY . .
RUN /opt/vidi/bin/pip install -c requirements.lock '.[clusterer]'
# This image promises to hold no deep-learning framework: say so while it is built, not when it runs.
RUN ! /opt/vidi/bin/python -c 'import torch' 2>/dev/null

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="ViDi clusterer" \
      org.opencontainers.image.description="Clusters attribution vectors with FAISS over gRPC." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
RUN groupadd --gid 10001 vidi \
    && useradd --uid 10001 --gid vidi --no-create-home --home-dir /data --shell /usr/sbin/nologin vidi \
    && install -d -o vidi -g vidi -m 0700 /data
COPY --from=build /opt/vidi /opt/vidi
ENV PATH=/opt/vidi/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    VIDI_DATA_DIR=/data \
    VIDI_HOST=0.0.0.0 \
    VIDI_PORT=50053 \
    VIDI_LOG_JSON=true
USER 10001:10001
VOLUME /data
EXPOSE 50053 9090
# Kubernetes ignores this and asks over gRPC itself.
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s CMD ["python3", "-m", "vidi.rpc.probe", "127.0.0.1:50053", "liveness"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["vidi", "serve"]
CMD ["clusterer"]
