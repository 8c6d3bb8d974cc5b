#!/bin/sh
# Makes the images that docker-compose.yml names where no registry of images can be reached, under the very names that it
# uses, so that it runs as it is. What can be had is the real program: etcd, Jaeger, Loki and the collector built from their
# Go modules at the pinned versions, PostgreSQL and Prometheus from Debian. Grafana is not to be had that way: a small
# stand-in takes its place (deploy/e2e/). Images that are there are left alone.
set -eu
cd "$(dirname "$0")/../.."

work=${MCP_E2E_WORK:-$PWD/target/e2e}
programs=${MCP_E2E_PROGRAMS:-${CARGO_TARGET_DIR:-$PWD/target}/release}
tools=$work/tools
mkdir -p "$tools"

# The program of Docker that can use BuildKit without a plugin: Debian's.
docker=docker
docker buildx version >/dev/null 2>&1 || [ ! -x /usr/bin/docker ] || docker=/usr/bin/docker

has_image() {
  "$docker" image inspect "$1" >/dev/null 2>&1
}

# Copies a program and the libraries that it needs into the folder $2, at the same paths.
with_libraries() {
  mkdir -p "$2$(dirname "$1")"
  cp -a "$(readlink -f "$1")" "$2$1"
  ldd "$1" 2>/dev/null | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p' | while read -r library; do
    # In Debian /lib is a link to /usr/lib, which a folder of that name would replace.
    place=$2/usr${library#/usr}
    [ -e "$place" ] || { mkdir -p "$(dirname "$place")"; cp -L "$library" "$place"; }
  done
}

# Builds the image $1 from the folder $2, which has a Dockerfile.
build() {
  DOCKER_BUILDKIT=0 "$docker" build --quiet --tag "$1" "$2" >/dev/null
  rm -rf "$2"
  echo "e2e: made $1"
}

base() {
  has_image debian:bookworm-slim && return
  command -v debootstrap >/dev/null || apt-get install --yes --quiet --quiet debootstrap
  [ -e "$work/rootfs/etc/debian_version" ] || debootstrap --variant=minbase --include=ca-certificates,wget bookworm "$work/rootfs" >"$work/debootstrap.log"
  tar -C "$work/rootfs" --exclude='*.deb' --exclude='./var/cache/apt/*.bin' --exclude='./var/lib/apt/lists/*_*' --exclude=./usr/share/doc --exclude=./usr/share/man --exclude=./usr/share/locale -c . |
    "$docker" import - debian:bookworm-slim >/dev/null
}

# Folder of the module $1.
module() {
  go mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'
}

# Builds etcd, the collector, Jaeger and Loki; a quarter of an hour at the first run, cached below target/.
go_programs() {
  [ -x "$tools/etcd" ] && [ -x "$tools/etcdctl" ] && [ -x "$tools/otelcol-contrib" ] && [ -x "$tools/jaeger" ] && [ -x "$tools/loki" ] && return
  command -v go >/dev/null || { echo "e2e: install go (1.25 or later)" >&2; exit 1; }
  mkdir -p "$work/go/etcd" "$work/go/telemetry/otelcol" "$work/go/loki"
  (
    cd "$work/go/etcd"
    [ -e go.mod ] || go mod init etcd-image
    go get go.etcd.io/etcd/server/v3@v3.5.21 go.etcd.io/etcd/etcdctl/v3@v3.5.21
    CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o "$tools/etcd" go.etcd.io/etcd/server/v3
    CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o "$tools/etcdctl" go.etcd.io/etcd/etcdctl/v3
  )
  cp deploy/e2e/otelcol.go "$work/go/telemetry/otelcol/main.go"
  (
    cd "$work/go/telemetry"
    # Jaeger's module pins the collector's parts of the same release, checksums included; go install refuses its `replace`.
    jaeger=$(module github.com/jaegertracing/jaeger@v1.76.0)
    sed 's#^module .*#module telemetry-images#' "$jaeger/go.mod" >go.mod
    cat "$jaeger/go.sum" >go.sum
    echo 'package images' >images.go
    go mod edit -require github.com/jaegertracing/jaeger@v1.76.0
    CGO_ENABLED=0 go build -mod=mod -trimpath -ldflags="-s -w" -o "$tools/otelcol-contrib" ./otelcol
    CGO_ENABLED=0 go build -mod=mod -trimpath -ldflags="-s -w" -o "$tools/jaeger" github.com/jaegertracing/jaeger/cmd/all-in-one
  )
  (
    cd "$work/go/loki"
    # The one part of Loki that its go.mod seeks in a folder of its repository is a module of its own, too.
    loki=$(module github.com/grafana/loki/v3@v3.5.3)
    sed -e 's#^module .*#module loki-image#' -e '\#=> ./pkg/push#d' "$loki/go.mod" >go.mod
    cat "$loki/go.sum" >go.sum
    echo 'package images' >images.go
    go mod edit -require github.com/grafana/loki/v3@v3.5.3
    CGO_ENABLED=0 go build -mod=mod -trimpath -ldflags="-s -w" -o "$tools/loki" github.com/grafana/loki/v3/cmd/loki
  )
}

# $1 image, $2 program, $3 where the image has it, $4 the rest of the Dockerfile.
go_image() {
  has_image "$1" && return
  folder=$work/context
  rm -rf "$folder" && mkdir -p "$folder/root$(dirname "$3")"
  cp "$tools/$2" "$folder/root$3"
  [ "$2" != etcd ] || cp "$tools/etcdctl" "$folder/root$(dirname "$3")/"
  printf 'FROM debian:bookworm-slim\nCOPY root /\n%b\n' "$4" >"$folder/Dockerfile"
  build "$1" "$folder"
}

postgres() {
  has_image postgres:15.18-bookworm && return
  home=$(ls -d /usr/lib/postgresql/*/ | sort -V | tail -1)
  folder=$work/context
  rm -rf "$folder" && mkdir -p "$folder/root/usr/lib/postgresql" "$folder/root/usr/share/postgresql" "$folder/root/usr/local/bin"
  for program in "$home"bin/postgres "$home"bin/initdb "$home"bin/pg_ctl "$home"bin/psql "$home"bin/pg_dump "$home"bin/pg_restore "$home"bin/pg_isready; do
    with_libraries "$program" "$folder/root"
    ln -s "$program" "$folder/root/usr/local/bin/$(basename "$program")"
  done
  mkdir -p "$folder/root${home}lib"
  cp -a "$home"lib/*.so "$folder/root${home}lib/"
  rm -f "$folder/root${home}"lib/llvmjit*.so
  cp -a /usr/share/postgresql/"$(basename "$home")" "$folder/root/usr/share/postgresql/"
  cp deploy/e2e/postgres-entrypoint.sh "$folder/root/usr/local/bin/docker-entrypoint.sh"
  cat >"$folder/Dockerfile" <<'DOCKERFILE'
FROM debian:bookworm-slim
COPY root /
RUN groupadd --gid 999 postgres && useradd --uid 999 --gid 999 --home-dir /var/lib/postgresql postgres \
 && install --directory --owner 999 --group 999 /var/lib/postgresql/data /var/run/postgresql
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
DOCKERFILE
  build postgres:15.18-bookworm "$folder"
}

prometheus() {
  has_image prom/prometheus:v3.5.0 && return
  folder=$work/context
  rm -rf "$folder" && mkdir -p "$folder/root/bin"
  (cd "$work" && rm -f prometheus_*.deb && apt-get download prometheus >/dev/null 2>&1 && dpkg-deb -x prometheus_*.deb "$folder/deb")
  cp "$folder/deb/usr/bin/prometheus" "$folder/deb/usr/bin/promtool" "$folder/root/bin/"
  rm -rf "$folder/deb"
  printf 'FROM debian:bookworm-slim\nCOPY root/bin/ /usr/bin/\nRUN install --directory --owner 65534 /prometheus\nUSER 65534\nENTRYPOINT ["/usr/bin/prometheus"]\n' >"$folder/Dockerfile"
  build prom/prometheus:v3.5.0 "$folder"
}

# A stand-in answers health checks on the port $2.
stand_in() {
  has_image "$1" && return
  folder=$work/context
  rm -rf "$folder" && mkdir -p "$folder"
  cp deploy/e2e/stand-in.pl "$folder/"
  printf 'FROM debian:bookworm-slim\nCOPY stand-in.pl /\nENTRYPOINT ["perl", "/stand-in.pl", "%s"]\n' "$2" >"$folder/Dockerfile"
  build "$1" "$folder"
}

# The compilers, as the Dockerfile's first stage wants them: this machine's toolchain, linker and certificates.
compiler() {
  has_image rust:1.95-bookworm && return
  folder=$work/context
  toolchain=$(rustc +1.95.0 --print sysroot)
  rm -rf "$folder" && mkdir -p "$folder/rustup/toolchains" "$folder/cargo/bin"
  cp -a "$(readlink -f "$toolchain")" "$folder/rustup/toolchains/1.95.0-x86_64-unknown-linux-gnu"
  rm -rf "$folder"/rustup/toolchains/*/share
  cp "$(readlink -f "$(command -v rustup)")" "$folder/cargo/bin/rustup"
  for program in cargo rustc rustdoc; do ln -s rustup "$folder/cargo/bin/$program"; done
  cp -L /etc/ssl/certs/ca-certificates.crt "$folder/"
  cat >"$folder/Dockerfile" <<'DOCKERFILE'
FROM debian:bookworm-slim
ENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev pkg-config && rm -rf /var/lib/apt/lists/*
COPY ca-certificates.crt /etc/ssl/certs/
COPY rustup /usr/local/rustup
COPY cargo /usr/local/cargo
RUN rustup default 1.95.0-x86_64-unknown-linux-gnu
DOCKERFILE
  build rust:1.95-bookworm "$folder"
}

# Our own images, by the real Dockerfile: only its stage of compilers is replaced by what is compiled already, unless
# MCP_E2E_COMPILE=1 asks for it (a quarter of an hour of two processors).
services() {
  revision=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
  if [ "${MCP_E2E_COMPILE:-}" = 1 ]; then
    compiler
    image_of_each --build-arg "REVISION=$revision"
    return
  fi
  folder=$work/programs
  rm -rf "$folder" && mkdir -p "$folder/out"
  for program in mcp mcp-gateway mcp-registry mcp-scheduler mcp-worker log-report; do
    if [ -x "$programs/$program" ]; then
      strip --output-target=elf64-x86-64 -o "$folder/out/$program" "$programs/$program"
    else
      echo "e2e: $programs/$program is missing: cargo build --release -p gateway -p registry -p scheduler -p worker -p mcp -p log-report" >&2
      exit 1
    fi
  done
  printf 'FROM scratch\nCOPY out /out\n' >"$folder/Dockerfile"
  build mcp-e2e-programs "$folder"
  image_of_each --build-arg PROGRAMS=mcp-e2e-programs --build-arg "REVISION=$revision"
}

# Builds the targets of deploy/Dockerfile with the arguments $@.
image_of_each() {
  for target in gateway registry scheduler worker mcp; do
    DOCKER_BUILDKIT=1 "$docker" build --quiet --file deploy/Dockerfile --target "$target" --tag "mcp/$target:0.1.0" "$@" . >/dev/null
    echo "e2e: made mcp/$target:0.1.0"
  done
}

base
go_programs
go_image quay.io/coreos/etcd:v3.5.21 etcd /usr/local/bin/etcd 'CMD ["etcd"]'
go_image otel/opentelemetry-collector-contrib:0.140.1 otelcol-contrib /otelcol-contrib 'USER 10001\nENTRYPOINT ["/otelcol-contrib"]'
go_image jaegertracing/all-in-one:1.76.0 jaeger /go/bin/all-in-one-linux 'USER 10001\nENTRYPOINT ["/go/bin/all-in-one-linux"]'
postgres
prometheus
go_image grafana/loki:3.5.3 loki /usr/bin/loki 'RUN install --directory --owner 10001 --group 10001 /loki\nUSER 10001\nENTRYPOINT ["/usr/bin/loki"]'
stand_in grafana/grafana:12.2.1 3000
[ "${MCP_E2E_KEEP_SERVICES:-}" = 1 ] && has_image mcp/mcp:0.1.0 || services
