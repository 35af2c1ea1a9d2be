# Two stages: build and test with everything, run with little. CPU by default; `--build-arg CUDA=1` adds the CUDA
# libraries and liblfm2_cuda.so.
#   docker build -t lfm2d .
#   docker build -t lfm2d:cuda --build-arg CUDA=1 .
ARG CUDA=0
ARG BASE=debian:12-slim

FROM ${BASE} AS build
ARG CUDA
WORKDIR /src
COPY deps/ deps/
COPY scripts/setup.sh scripts/setup.sh
RUN CUDA=${CUDA} scripts/setup.sh
COPY . .
RUN kernels=$([ "${CUDA}" = 0 ] || echo lfm2_cuda) \
 && cmake --preset release -DLFM2_CUDA="$([ "${CUDA}" = 0 ] && echo OFF || echo ON)" \
 && cmake --build --preset release -j "$(nproc)" --target lfm2d lfm2-worker lfm2ctl lfm2_spm ${kernels}
RUN scripts/stage.sh build/release/bin .deps/python /stage

FROM ${BASE} AS run
# Debian's stable release moves by security fixes alone, which an image must not refuse: its packages are not pinned.
# hadolint ignore=DL3008
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends \
# runtime packages
    ca-certificates \
    libabsl20220623 \
    libarchive13 \
    libgrpc++1.51 \
    libpcre2-8-0 \
    libprometheus-cpp-core1.0 \
    libprotobuf32 \
    libsentencepiece0 \
    libspdlog1.10 \
    libsqlite3-0 \
    libssl3 \
    libtomlplusplus3 \
    libutf8proc2 \
    zlib1g \
# end
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --user-group --home-dir /var/lib/lfm2d --create-home --shell /usr/sbin/nologin lfm2d
COPY --from=build /stage/ /
COPY configs/ /etc/lfm2d/
USER 10001:10001
VOLUME /var/lib/lfm2d
EXPOSE 7070
STOPSIGNAL SIGTERM
ENV LFM2_DATA_DIR=/var/lib/lfm2d LFM2CTL_SERVER=unix:/var/lib/lfm2d/lfm2d.sock
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["lfm2ctl", "health", "--live"]
# On a Unix socket in the data volume by default: beyond the container the daemon wants TLS and tokens (deploy/compose.yaml).
ENTRYPOINT ["lfm2d"]
CMD ["--listen", "unix:/var/lib/lfm2d/lfm2d.sock"]
