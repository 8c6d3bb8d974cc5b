#!/bin/sh
# Applies the manifests and the charts to a real Kubernetes API server and reads them back (scripts/e2e/kubernetes.py).
# The API server is built from its Go modules, cached below target/; where they cannot be had, it says so and ends well:
# the manifests are then checked against Kubernetes' schemas only (scripts/deploy-check.sh).
set -eu
cd "$(dirname "$0")/../.."

# Minor release: the oldest that the charts are for is 1.30; of later ones not every module was to be had.
version=1.31.1
# Longest time of the build, which takes a quarter of an hour of a processor, and of everything after it.
build_seconds=3000
check_seconds=300

work=${MCP_E2E_WORK:-$PWD/target/e2e}
tools=$work/tools
place=$work/kubernetes
mkdir -p "$tools"

cannot() {
  echo "e2e: kubernetes NOT RUN: $1; the manifests are checked against schemas only" >&2
  exit 0
}

build() {
  [ -x "$tools/kube-apiserver" ] && return
  command -v go >/dev/null || cannot "there is no go to build the API server with"
  echo "e2e: building kube-apiserver $version"
  module=$work/go/kubernetes
  rm -rf "$module" && mkdir -p "$module"
  source=$(cd "$work" && go mod download -json "k8s.io/kubernetes@v$version" 2>/dev/null | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
  [ -n "$source" ] || cannot "the module k8s.io/kubernetes@v$version cannot be had"
  # Its parts are modules of their own, of the same release, which its go.mod seeks in folders of its repository.
  sed -e 's#^module .*#module kubernetes-programs#' -e "s#=> \./staging/src/\(.*\)\$#=> \1 v0.${version#1.}#" \
    -e "s#\(k8s\.io/[a-z-]*\) v0\.0\.0\$#\1 v0.${version#1.}#" "$source/go.mod" >"$module/go.mod"
  cp "$source/go.sum" "$module/go.sum"
  chmod u+w "$module/go.sum"
  echo 'package programs' >"$module/programs.go"
  flags="-s -w -X k8s.io/component-base/version.gitVersion=v$version -X k8s.io/component-base/version.gitMajor=1"
  minor=${version#1.}
  (
    cd "$module"
    go mod edit -require "k8s.io/kubernetes@v$version"
    go list -mod=mod -deps k8s.io/kubernetes/cmd/kube-apiserver >"$work/kubernetes-modules.log" 2>&1 || exit 3
    CGO_ENABLED=0 timeout "$build_seconds" go build -mod=mod -trimpath -ldflags="$flags -X k8s.io/component-base/version.gitMinor=${minor%%.*}" \
      -o "$tools/kube-apiserver" k8s.io/kubernetes/cmd/kube-apiserver
  ) || {
    [ $? != 3 ] || cannot "modules of the API server cannot be had: $(tail -1 "$work/kubernetes-modules.log")"
    echo "e2e: kube-apiserver was not built within $build_seconds s, or does not compile" >&2
    exit 1
  }
}

etcd=
server=
# shellcheck disable=SC2329 # called by the trap
clean_up() {
  status=$?
  trap - EXIT
  for process in $server $etcd; do
    kill "$process" 2>/dev/null || true
    wait "$process" 2>/dev/null || true
  done
  [ "$status" = 0 ] || tail -20 "$place"/*.log >&2 2>/dev/null || true
  exit "$status"
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

build
program=$tools/etcd
[ -x "$program" ] || program=$(command -v etcd) || cannot "there is no etcd"
rm -rf "$place" && mkdir -p "$place"
trap clean_up EXIT
trap 'exit 130' INT TERM

store=http://127.0.0.1:$(free_port)
peer=http://127.0.0.1:$(free_port)
"$program" --name=one --data-dir="$place/etcd" --listen-client-urls="$store" --advertise-client-urls="$store" \
  --listen-peer-urls="$peer" --initial-advertise-peer-urls="$peer" --initial-cluster="one=$peer" >"$place/etcd.log" 2>&1 &
etcd=$!

port=$(free_port)
token=$(python3 -c 'import secrets; print(secrets.token_hex(32))')
(umask 077 && echo "$token,e2e,e2e,system:masters" >"$place/tokens.csv")
openssl genrsa -out "$place/accounts.key" 2048 2>/dev/null
"$tools/kube-apiserver" --etcd-servers="$store" --bind-address=127.0.0.1 --secure-port="$port" --cert-dir="$place/certificates" \
  --token-auth-file="$place/tokens.csv" --authorization-mode=RBAC --service-cluster-ip-range=10.96.0.0/16 --endpoint-reconciler-type=none \
  --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$place/accounts.key" \
  --service-account-signing-key-file="$place/accounts.key" >"$place/kube-apiserver.log" 2>&1 &
server=$!

cat >"$place/kubeconfig" <<CONFIG
apiVersion: v1
kind: Config
clusters: [{name: e2e, cluster: {server: "https://127.0.0.1:$port", certificate-authority: $place/certificates/apiserver.crt, tls-server-name: kubernetes}}]
users: [{name: e2e, user: {token: $token}}]
contexts: [{name: e2e, context: {cluster: e2e, user: e2e}}]
current-context: e2e
CONFIG
chmod 600 "$place/kubeconfig"
KUBECONFIG=$place/kubeconfig timeout "$check_seconds" python3 scripts/e2e/kubernetes.py
