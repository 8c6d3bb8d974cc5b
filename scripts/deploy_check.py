"""Checks manifests against Kubernetes' OpenAPI schemas, and dashboards and alerts against the documentation.

Usage: deploy_check.py MANIFEST...
"""

import json
import pathlib
import re
import sys

import kubernetes_validate
import yaml

# Oldest and newest release of Kubernetes that the charts are for.
VERSIONS = ("1.30", "1.33", "1.37")
# Kinds of operators, of which Kubernetes itself knows no schema.
OPERATORS = {"ScaledObject", "TriggerAuthentication", "ServiceMonitor"}
OPERATIONS = pathlib.Path("docs/operations.md")


def check_manifest(path):
    """The faults of one file."""
    faults, kinds = [], 0
    for document in yaml.safe_load_all(path.read_text()):
        if not document or document["kind"] in OPERATORS:
            continue
        kinds += 1
        name = f"{path.name}: {document['kind']} {document['metadata']['name']}"
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                faults.append(f"{name}, Kubernetes {version}: {'.'.join(map(str, error.path))}: {error.message}")
        if document["kind"] == "Deployment":
            faults += [f"{name}: {fault}" for fault in check_pod(document["spec"]["template"]["spec"])]
    return faults, kinds


def check_pod(pod):
    """What every pod of ours must have, whatever the values say."""
    container = pod["containers"][0]
    security = container.get("securityContext", {})
    rules = {
        "runs as root": pod["securityContext"].get("runAsNonRoot") is True,
        "has a writable root": security.get("readOnlyRootFilesystem") is True,
        "may gain privileges": security.get("allowPrivilegeEscalation") is False,
        "keeps capabilities": security.get("capabilities") == {"drop": ["ALL"]},
        "lacks a probe": all(f"{kind}Probe" in container for kind in ("startup", "liveness", "readiness")),
        "lacks requests or a memory limit": "requests" in container["resources"] and "memory" in container["resources"]["limits"],
        "is given a token of the API server": pod.get("automountServiceAccountToken") is False,
    }
    return [fault for fault, holds in rules.items() if not holds]


def anchors(page):
    """The anchors that a page's headings make, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def check_alerts(known):
    """Every alert says how bad it is, what it means, and where to read on."""
    faults = []
    for group in yaml.safe_load(pathlib.Path("deploy/prometheus/alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            annotations = rule.get("annotations", {})
            page, _, anchor = annotations.get("runbook_url", "").partition("#")
            if not page.endswith(OPERATIONS.name) or anchor not in known:
                faults.append(f"alert {rule['alert']}: no section `{anchor}` in {OPERATIONS}")
            if "summary" not in annotations or rule.get("labels", {}).get("severity") not in ("page", "ticket"):
                faults.append(f"alert {rule['alert']}: needs a summary and a severity")
    return faults


def check_dashboards():
    """Every dashboard has an id of its own, and every panel of it a query and a place."""
    faults, ids = [], set()
    for path in sorted(pathlib.Path("deploy/grafana/dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        if board["uid"] in ids:
            faults.append(f"{path}: the uid {board['uid']} is there twice")
        ids.add(board["uid"])
        for panel in board["panels"]:
            if panel["type"] == "row":
                continue
            if not panel.get("targets") or "gridPos" not in panel or "uid" not in panel.get("datasource", {}):
                faults.append(f"{path}: panel {panel.get('title')} needs targets, gridPos and a datasource")
    return faults


def main():
    faults, kinds = [], 0
    for path in map(pathlib.Path, sys.argv[1:]):
        found, count = check_manifest(path)
        faults += found
        kinds += count
    faults += check_alerts(anchors(OPERATIONS)) + check_dashboards()
    for fault in faults:
        print(f"deploy-check: {fault}", file=sys.stderr)
    if not faults:
        print(f"deploy-check: {kinds} Kubernetes objects, dashboards and alerts are right")
    return 1 if faults else 0


sys.exit(main())
