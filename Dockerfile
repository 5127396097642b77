# The images of Strata: one target a program, static, without a shell, as a
# user without rights.
#
#   docker build --target strata --tag strata-metrics/strata:0.1.0 .
#   docker buildx build --platform linux/amd64,linux/arm64 --target strata-node ...
#
# Targets: strata, strata-node, strata-container, strata-kubestate, strata-app,
# and demo, the application of docker-compose.yml.

ARG GO_VERSION=1.26

# Go builds for another platform as fast as for its own, so that the build runs
# on the builder's.
FROM --platform=$BUILDPLATFORM golang:${GO_VERSION} AS source
ENV CGO_ENABLED=0 GOTOOLCHAIN=local
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
# A directory for the image without programs.
RUN mkdir -p /skeleton/data

FROM source AS build
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
ARG REVISION=unknown
ARG BRANCH=unknown
# As make build does; all programs in one run, since they share most packages.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    v=github.com/prometheus/common/version && \
    GOOS=$TARGETOS GOARCH=$TARGETARCH go build -buildvcs=false -trimpath \
      -ldflags "-s -w -X $v.Version=$VERSION -X $v.Revision=$REVISION -X $v.Branch=$BRANCH" \
      -o /out/ ./cmd/strata ./cmd/strata-node ./cmd/strata-container ./cmd/strata-kubestate ./cmd/strata-app

# The demo application needs nothing but Go's own packages.
FROM source AS build-demo
ARG TARGETOS
ARG TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    cd test/e2e && GOOS=$TARGETOS GOARCH=$TARGETARCH go build -buildvcs=false -trimpath -ldflags "-s -w" -o /out/demo ./demo

FROM scratch AS base
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.source="https://github.com/strata-metrics/strata" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=source /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY LICENSE /licenses/LICENSE
ENV PATH=/bin
USER 65532:65532

FROM base AS strata-node
LABEL org.opencontainers.image.title="strata-node"
COPY --from=build /out/strata-node /bin/
EXPOSE 9100
ENTRYPOINT ["/bin/strata-node"]

# Asked to read the container runtime's socket, it must be run as user 0.
FROM base AS strata-container
LABEL org.opencontainers.image.title="strata-container"
COPY --from=build /out/strata-container /bin/
EXPOSE 9101
ENTRYPOINT ["/bin/strata-container"]

FROM base AS strata-app
LABEL org.opencontainers.image.title="strata-app"
COPY --from=build /out/strata-app /bin/
EXPOSE 9102 9180
ENTRYPOINT ["/bin/strata-app"]

FROM base AS strata-kubestate
LABEL org.opencontainers.image.title="strata-kubestate"
COPY --from=build /out/strata-kubestate /bin/
EXPOSE 9103 8081
ENTRYPOINT ["/bin/strata-kubestate"]

FROM base AS demo
LABEL org.opencontainers.image.title="demo"
COPY --from=build-demo /out/demo /bin/
EXPOSE 8080
ENTRYPOINT ["/bin/demo"]

# The last target is what a build without --target makes.
FROM base AS strata
LABEL org.opencontainers.image.title="strata"
COPY --from=build /out/strata /bin/
# A new volume on it belongs to the user that writes it.
COPY --from=source --chown=65532:65532 /skeleton/data /data
EXPOSE 9090 9443
ENTRYPOINT ["/bin/strata"]
