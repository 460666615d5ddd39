# The image of the agent and the CNI plugin: two static programs and nothing else.
#
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=v1.0.0 \
#     --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) --output type=oci,rewrite-timestamp=true,dest=image.tar .
#
# The same sources and the same Go give the same programs, byte for byte. Where there is no Docker, "make image" makes
# an image of the same files by the same commands: it reads this page (test/image).

# Built on the machine's own platform for every other: Go needs no emulation for that.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETARCH
ARG VERSION=dev
ARG OUT=/out
ENV CGO_ENABLED=0 GOOS=linux GOARCH=$TARGETARCH
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY cmd cmd
COPY pkg pkg
RUN go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o "$OUT/agent" ./cmd/agent
RUN go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o "$OUT/bond" ./cmd/cni

FROM scratch
ARG VERSION=dev
LABEL org.opencontainers.image.title="bondkeeper"
LABEL org.opencontainers.image.description="Keeps bonds of SR-IOV virtual functions in pods alive: node agent and CNI plugin"
LABEL org.opencontainers.image.licenses="Apache-2.0"
LABEL org.opencontainers.image.version="$VERSION"
COPY --from=build /out/agent /agent
# For agent install-cni, which puts it on the node.
COPY --from=build /out/bond /bond
# Root by number, for there is no passwd here. It must be root: the records, the netns and the runtime's socket belong
# to root, and a process of another user loses its capabilities when it is started. The manifests drop all
# capabilities but those that are needed.
USER 0:0
ENTRYPOINT ["/agent"]
CMD ["run"]
