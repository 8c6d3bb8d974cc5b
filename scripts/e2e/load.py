"""A caller that submits tasks all the time, and knows which were acknowledged."""

import threading
import time
import uuid

from cluster import GATEWAY, LIMIT, Failure, eventually, get, http

# Submits in a second.
RATE = 5.0


class Load:
    """Submits `true` from a thread of its own. What was acknowledged must end well, whatever happens to the cluster."""

    def __init__(self, gateways=(GATEWAY,)):
        self.gateways = list(gateways)
        self.acknowledged = []
        self.failures = []
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.stopped.set()
        self.thread.join()

    def work(self):
        while not self.stopped.wait(1 / RATE):
            # A repeat of the same task has the same key: an answer that was lost makes no second task.
            task = {"process": {"argv": ["true"]}, "idempotencyKey": f"e2e-{uuid.uuid4()}"}
            self.submit(task)

    def submit(self, task):
        """Submits until acknowledged; every answer that is not that is a failed call."""
        while not self.stopped.is_set():
            try:
                status, _, text = self.call("POST", "/v1/tasks", task)
                if status == 200:
                    self.acknowledged.append(text.split('"taskId":"')[1].split('"')[0])
                    return
                self.failures.append(f"{status} {text[:300]}")
            except OSError as error:
                self.failures.append(str(error))
            self.stopped.wait(0.5)

    def call(self, method, path, body):
        """Asks the first gateway that takes connections and is ready, as a balancer in front of them does."""
        for gateway in self.gateways:
            try:
                if http("GET", f"{gateway}/readyz", limit=5)[0] != 200:
                    continue
            except OSError:
                continue
            return http(method, f"{gateway}{path}", body)
        raise OSError("no gateway is ready")

    def more(self, count):
        """Waits until `count` more tasks have been acknowledged than now."""
        before = len(self.acknowledged)
        eventually(f"{count} more tasks are acknowledged", lambda: len(self.acknowledged) >= before + count)


def all_end_well(ids):
    """Every task is there and succeeds. The outcome is what the task says of itself."""
    ended, open_ids, end = {}, list(ids), time.monotonic() + LIMIT
    while open_ids:
        left = []
        for task_id in open_ids:
            status, _, text = http("GET", f"{GATEWAY}/v1/tasks/{task_id}")
            if status == 404:
                raise Failure(f"task {task_id} was acknowledged and is lost")
            if status == 200 and '"TASK_STATE_SUCCEEDED"' in text:
                ended[task_id] = text
            elif status == 200 and ('_FAILED"' in text.split('"state":')[1][:40] or '_CANCELLED"' in text.split('"state":')[1][:40]):
                raise Failure(f"task {task_id} did not succeed: {text[:1500]}")
            else:
                left.append(task_id)
        open_ids = left
        if open_ids and time.monotonic() > end:
            explained = get(f"{GATEWAY}/v1/tasks/{open_ids[0]}:explain")
            raise Failure(f"{len(open_ids)} tasks have not ended; of the first: {explained}")
        time.sleep(0.5 if open_ids else 0)
    return ended
