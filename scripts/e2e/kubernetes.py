"""Applies what is shipped for Kubernetes to a real API server, and reads it back. KUBECONFIG names the server."""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

CHARTS = pathlib.Path("deploy/helm")
MANIFESTS = pathlib.Path("deploy/k8s")
# Longest time until the server answers; it makes its own objects first.
READY_SECONDS = 120


class Failure(Exception):
    """What was expected did not happen."""


def run(*command, stdin=None):
    """Exit code, standard output and standard error of a command."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def kubectl(*arguments, stdin=None):
    """What kubectl printed; it must succeed, and the server must have warned of nothing."""
    code, out, err = run("scripts/helm.sh", "--kubectl", *arguments, stdin=stdin)
    if code != 0 or "Warning:" in err:
        raise Failure(f"kubectl {' '.join(arguments)}: {code}\n{out}\n{err}")
    return out


def objects(text):
    """The objects that kubectl printed as JSON, one or several or in lists, by kind and name."""
    found, decoder, at = {}, json.JSONDecoder(), 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        document, at = decoder.raw_decode(text, at)
        for item in document["items"] if document["kind"] == "List" else [document]:
            found[f"{item['kind']} {item['metadata']['name']}"] = item
    return found


def missing(wanted, found, path=""):
    """Where what was read back lacks something of what was applied, or has it otherwise."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [fault for key, value in wanted.items() for fault in missing(value, found.get(key), f"{path}.{key}")]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [fault for at, (value, other) in enumerate(zip(wanted, found)) for fault in missing(value, other, f"{path}[{at}]")]
    # The server leaves out what is empty, and writes quantities as strings.
    same = wanted == found or (wanted in ({}, [], None) and found is None) or str(wanted) == str(found)
    return [] if same else [f"{path} is {found!r}, not {wanted!r}"]


def applied(namespace, *files):
    """Applies files for real, then reads them back: everything is there, and a second time changes nothing."""
    arguments = [word for file in files for word in ("--filename", str(file))]
    apply = ("apply", "--server-side", "--namespace", namespace, *arguments)
    kubectl(*apply)
    wanted = objects(kubectl("create", "--dry-run=client", "--output", "json", "--namespace", namespace, *arguments))
    read = ("get", "--output", "json", "--show-managed-fields", "--namespace", namespace, *arguments)
    found = objects(kubectl(*read))
    for name, item in wanted.items():
        faults = missing(item, found.get(name, {}))
        if faults:
            raise Failure(f"{name} was not read back as it was applied: {faults[:5]}")
        managers = {(entry["manager"], entry["operation"]) for entry in found[name]["metadata"]["managedFields"]}
        if ("kubectl", "Apply") not in managers:
            raise Failure(f"{name} is owned by {managers}")
    kubectl(*apply)
    again = objects(kubectl(*read))
    for item in (*found.values(), *again.values()):
        # The server may write the same once more (it does with a claim); then only its count of writes moves, no generation.
        del item["metadata"]["resourceVersion"]
    changed = [name for name in wanted if again[name] != found[name]]
    if changed:
        raise Failure(f"applying the same once more changed {changed}, for instance from {found[changed[0]]} to {again[changed[0]]}")
    return found


def pods_are_admitted(namespace, found):
    """Pods of every Deployment pass the namespace's restricted level and the admission of service accounts; one that may be root does not."""
    count = 0
    for name, item in found.items():
        if item["kind"] != "Deployment":
            continue
        template = item["spec"]["template"]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one", "labels": template["metadata"]["labels"]}, "spec": template["spec"]}
        create = ("create", "--dry-run=server", "--output", "json", "--namespace", namespace, "--filename", "-")
        kubectl(*create, stdin=json.dumps(pod))
        count += 1
        pod["spec"]["securityContext"]["runAsNonRoot"] = False
        code, _, err = run("scripts/helm.sh", "--kubectl", *create, stdin=json.dumps(pod))
        if code == 0 or "violates PodSecurity" not in err:
            raise Failure(f"a pod of {name} that may be root was not refused: {code} {err}")
    return count


def wrong_is_refused(namespace):
    """The server checks what it is given: an unknown field and a wrong type are refused."""
    text = (MANIFESTS / "gateway.yaml").read_text()
    for right, wrong in (("revisionHistoryLimit:", "revisionHistoryLimits:"), ("replicas: 2", "replicas: two")):
        if right not in text:
            raise Failure(f"the gateway's manifest has no {right}")
        arguments = ("apply", "--server-side", "--dry-run=server", "--namespace", namespace, "--filename", "-")
        code, _, err = run("scripts/helm.sh", "--kubectl", *arguments, stdin=text.replace(right, wrong, 1))
        if code == 0:
            raise Failure(f"{wrong} was taken")
        if wrong.split(":")[0] not in err and "two" not in err:
            raise Failure(f"{wrong} was refused for another reason: {err}")


def ready():
    end = time.monotonic() + READY_SECONDS
    while True:
        code, out, err = run("scripts/helm.sh", "--kubectl", "get", "--raw", "/readyz")
        if code == 0 and out.strip() == "ok":
            return
        if time.monotonic() > end:
            raise Failure(f"the API server is not ready after {READY_SECONDS} s: {out} {err}")
        time.sleep(1)


def charts():
    """Applies the umbrella chart with each values file of deploy/helm/ci in a namespace of its own. How many objects there were."""
    kubectl("apply", "--server-side", "--filename", "deploy/e2e/operators.yaml")
    kubectl("wait", "--for", "condition=Established", "--timeout=60s", "--filename", "deploy/e2e/operators.yaml")
    total = 0
    with tempfile.TemporaryDirectory() as folder:
        for values in sorted((CHARTS / "ci").glob("*.yaml")):
            namespace = f"mcp-{values.stem}"
            kubectl("create", "namespace", namespace)
            kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
            code, out, err = run("scripts/helm.sh", "template", "mcp", str(CHARTS / "mcp"), "--namespace", namespace, "--values", str(values))
            if code != 0:
                raise Failure(f"helm template with {values}: {err}")
            rendered = pathlib.Path(folder) / f"{values.stem}.yaml"
            rendered.write_text(out)
            found = applied(namespace, rendered)
            pods_are_admitted(namespace, found)
            total += len(found)
    return total


def main():
    try:
        ready()
        version = json.loads(kubectl("get", "--raw", "/version"))["gitVersion"]
        # As docs/operations.md says.
        kubectl("apply", "--filename", str(MANIFESTS / "namespace.yaml"))
        found = applied("mcp", MANIFESTS)
        pods = pods_are_admitted("mcp", found)
        wrong_is_refused("mcp")
        rendered = charts()
    except Failure as error:
        print(f"e2e: kubernetes FAILED: {error}", file=sys.stderr, flush=True)
        return 1
    kinds = sorted({item["kind"] for item in found.values()})
    print(f"e2e: kubernetes {version}: {len(found)} objects of deploy/k8s ({', '.join(kinds)}) and {rendered} of the charts applied by the server, read back, "
          f"unchanged by a second time; pods of {pods} Deployments pass the restricted level; wrong fields are refused", flush=True)
    return 0


sys.exit(main())
