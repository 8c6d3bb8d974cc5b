"""The driver's side of the protocol (see harness/process.py) for peers that are Python libraries."""

import json
import sys
import time
import traceback


def serve(peer) -> None:
    """Answers until the input ends.

    `peer` has reset(), submit_batch(tasks), submit_single(tasks, in_flight), submit_stamped(time) and completed().
    """
    answers = sys.stdout
    sys.stdout = sys.stderr  # whatever a library prints must not get between the answers
    say(answers, {"ready": True})
    for line in sys.stdin:
        try:
            say(answers, answer(peer, json.loads(line)))
        except Exception:
            say(answers, {"error": traceback.format_exc()})


def say(answers, message: dict) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def answer(peer, question: dict) -> dict:
    match question["do"]:
        case "reset":
            peer.reset()
        case "batch":
            peer.submit_batch(question["tasks"])
        case "single":
            peer.submit_single(question["tasks"], question["in_flight"])
        case "paced":
            paced(peer, question["tasks"], question["rate"])
        case "completed":
            return {"tasks": peer.completed()}
        case unknown:
            raise ValueError(f"no such thing to do: {unknown}")
    return {}


def paced(peer, tasks: int, rate: int) -> None:
    """Submits at a fixed rate, each after the one before has been answered."""
    start = time.monotonic()
    for task in range(tasks):
        time.sleep(max(0.0, start + task / rate - time.monotonic()))
        peer.submit_stamped(time.monotonic_ns())
