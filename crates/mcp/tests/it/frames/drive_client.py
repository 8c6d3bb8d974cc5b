"""Drives examples/frame_client.py against a gateway: `drive_client.py FRAME_CLIENT.PY HOST:PORT`.

Prints what it saw as one JSON object.
"""
import importlib.util
import json
import sys

TASKS = "/mcp.scheduler.v1.TaskService/"
WORKFLOWS = "/mcp.scheduler.v1.WorkflowService/"


def load(path):
    spec = importlib.util.spec_from_file_location("frame_client", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(path, address):
    module = load(path)
    host, port = address.rsplit(":", 1)
    client = module.Client(host, int(port))
    seen = {"session": client.session["session"], "pong": client.ping(), "events": {}}
    for topic in ("tasks/default/*", "workflows/default/*", "rooms/#"):
        client.subscribe(topic)
    process = {"process": {"argv": ["echo", "hello"]}}
    task = client.call(TASKS + "SubmitTask", {"task": process})["taskId"]
    steps = [{"name": "only", "task": process}]
    workflow = client.call(WORKFLOWS + "SubmitWorkflow", {"workflow": {"name": "one", "steps": steps}})["workflowId"]
    client.publish("rooms/12/light", {"on": True})
    wanted = {"tasks/default/" + task: "TASK_STATE_SUCCEEDED",
              "workflows/default/" + workflow: "WORKFLOW_STATE_SUCCEEDED", "rooms/12/light": None}
    while wanted:
        topic, body = client.next_event()
        seen["events"].setdefault(topic, []).append(body)
        if topic in wanted and wanted[topic] in (None, body.get("state")):
            del wanted[topic]
    log = client.ask(module.REQUEST, {"taskId": task}, {"method": TASKS + "ReadTaskLogs"})
    seen["log"] = [line["text"] for frame in log if frame.body for line in json.loads(frame.body)["lines"]]
    try:
        client.call(TASKS + "GetTask", {"taskId": "018f3b1e-7c1a-7000-8000-0123456789ab"})
    except module.CallError as error:
        seen["error"] = error.args[0]["name"]
    seen["task"], seen["workflow"] = task, workflow
    print(json.dumps(seen))


main(*sys.argv[1:])
