"""Checks examples/frame_client.py against the golden vectors: `check_frame_client.py FRAME_CLIENT.PY STANDARD.TXT`.

Every frame must be read and written as the file says, and every broken one refused for the reason that it gives.
"""
import importlib.util
import sys

KINDS = "request response notification event subscribe unsubscribe ping pong hello hello-ack error goaway".split()
CODECS = "raw protobuf json".split()


def load(path):
    spec = importlib.util.spec_from_file_location("frame_client", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def vectors(path):
    with open(path, encoding="utf-8") as file:
        blocks = file.read().replace("\n  ", " ").split("\n\n")[1:]
    return [dict(line.split(": ", 1) for line in block.strip().split("\n")) for block in blocks]


def check(client, vector):
    data = bytes.fromhex(vector["bytes"])
    if "broken" in vector:
        try:
            client.decode(data)
        except client.Broken as broken:
            assert str(broken) == vector["broken"], broken
            return
        raise AssertionError("was read")
    for cut in range(len(data)):
        assert client.decode(data[:cut]) == (None, 0), cut
    frame, used = client.decode(data + b"next")
    body = vector["text"].encode() if "text" in vector else bytes.fromhex(vector.get("body", ""))
    flags = int(vector.get("flags", "0"), 16)
    metadata = vector.get("metadata", "").encode() if flags & client.METADATA else None
    expected = (KINDS.index(vector["kind"]), int(vector.get("version", "10"), 16), flags,
                CODECS.index(vector.get("codec", "raw")), int(vector.get("command", "0"), 16),
                int(vector.get("destination", 0)), int(vector.get("sequence", 0)), metadata, body)
    found = (frame.kind, frame.version, frame.flags, frame.codec, frame.command, frame.destination, frame.sequence,
             frame.metadata, frame.body)
    assert (found, used) == (expected, len(data)), found
    assert frame.encode() == data, frame.encode().hex()


def main(client_path, vectors_path):
    client, all_vectors = load(client_path), vectors(vectors_path)
    for vector in all_vectors:
        try:
            check(client, vector)
        except AssertionError as error:
            sys.exit(f"{vector['name']}: {error}")
    print(len(all_vectors))


main(*sys.argv[1:])
