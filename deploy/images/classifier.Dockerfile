# The classifier of ViDi. Build from the repository's root:
#   docker build -f deploy/images/classifier.Dockerfile --build-arg BASE_IMAGE=python:3.11-slim-bookworm@sha256:... -t vidi-classifier:0.1.0 .
# Production names the base image by digest; any Debian 12 with Python 3.11 and venv will do.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/vidi
WORKDIR /src
COPY requirements.lock ./
# torch has a layer of its own: it is large and seldom changes. pip's own settings say which build (CPU or CUDA) is offered.
RUN /opt/vidi/bin/pip install -c requirements.lock torch torchvision
COPY . .
RUN /opt/vidi/bin/pip install -c requirements.lock '.[classifier]'

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="ViDi classifier" \
      org.opencontainers.image.description="Classifies chest X-rays over gRPC." \
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
    VIDI_PORT=50051 \
    VIDI_LOG_JSON=true
USER 10001:10001
VOLUME /data
EXPOSE 50051 9090
# Kubernetes ignores this and asks over gRPC itself.
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s CMD ["python3", "-m", "vidi.rpc.probe", "127.0.0.1:50051", "liveness"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["vidi", "serve"]
CMD ["classifier"]
