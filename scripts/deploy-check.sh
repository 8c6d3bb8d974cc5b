#!/bin/sh
# Checks what is deployed without a cluster: charts (lint, several values files, Kubernetes' own schemas), the plain
# manifests (in step with the charts), dashboards and alerts (JSON, YAML, links into the documentation).
# `scripts/deploy-check.sh render` writes the plain manifests anew.
set -eu
cd "$(dirname "$0")/.."

charts=deploy/helm
tools=${CARGO_TARGET_DIR:-target}/tools
work=$(mktemp -d "${TMPDIR:-/tmp}/mcp-deploy-check.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Helm tells of every symbolic link on standard error; only what else it says is of interest.
helm() {
  if ! scripts/helm.sh "$@" 2>"$work/stderr"; then
    grep -v 'symbolic link' "$work/stderr" >&2 || true
    return 1
  fi
}

# Writes the plain manifests of every service into the folder $1.
render() {
  for service in gateway registry scheduler worker; do
    {
      echo "# Rendered from the chart deploy/helm/$service by scripts/deploy-check.sh render. Do not edit."
      helm template mcp $charts/mcp --namespace mcp --show-only "charts/$service/templates/all.yaml" |
        sed -e '/^# Source: /d' -e '/helm\.sh\/chart: /d' -e 's/managed-by: Helm/managed-by: kubectl/'
    } >"$1/$service.yaml"
  done
}

if [ "${1:-}" = render ]; then
  render deploy/k8s
  exit 0
fi

for chart in gateway registry scheduler worker mcp; do
  helm lint --quiet --strict $charts/$chart >"$work/lint" || { cat "$work/lint" >&2; exit 1; }
done
mkdir "$work/k8s" "$work/rendered"
render "$work/k8s"
for service in gateway registry scheduler worker; do
  if ! diff -u "deploy/k8s/$service.yaml" "$work/k8s/$service.yaml" >&2; then
    echo "deploy-check: deploy/k8s/$service.yaml is not what the charts say: run scripts/deploy-check.sh render" >&2
    exit 1
  fi
done
for values in $charts/ci/*.yaml; do
  helm template mcp $charts/mcp --namespace mcp --values "$values" >"$work/rendered/$(basename "$values")"
done
# What must be refused is refused.
for wrong in scheduler.persistence.enabled=true gateway.replicas=many worker.autoscaling.kind=magic gateway.config.gatway=1 registry.prot=1; do
  if scripts/helm.sh template mcp $charts/mcp --set "$wrong" >/dev/null 2>&1; then
    echo "deploy-check: the charts take the wrong value $wrong" >&2
    exit 1
  fi
done

if [ ! -x "$tools/kube-validate/bin/kubernetes-validate" ]; then
  python3 -m venv "$tools/kube-validate"
  "$tools/kube-validate/bin/pip" install --quiet --disable-pip-version-check kubernetes-validate==1.37.0 PyYAML
fi
exec "$tools/kube-validate/bin/python" scripts/deploy_check.py deploy/k8s/*.yaml "$work"/rendered/*.yaml
