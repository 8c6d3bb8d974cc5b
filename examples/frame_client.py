#!/usr/bin/env python3
"""A client of the MCP wire frame (profile `standard`) in plain Python: hello, call, subscribe, publish, ping.

The specification is docs/protocol/frame.md. As a program it makes one call and prints the answer:
    python3 frame_client.py 127.0.0.1:7070 /mcp.scheduler.v1.TaskService/ListTasks '{}' [token]
"""
import binascii
import itertools
import json
import socket
import struct
import sys

HEAD = struct.Struct(">HBBBBHHII")  # magic, version, kind, flags, codec, command, destination, sequence, length
MAGIC, VERSION, PAYLOAD_MAX = 0xAAAA, 0x10, 16 * 1024 * 1024
(REQUEST, RESPONSE, NOTIFICATION, EVENT, SUBSCRIBE, UNSUBSCRIBE,
 PING, PONG, HELLO, HELLO_ACK, ERROR, GOAWAY) = range(12)
METADATA, MORE, ZSTD = 0x01, 0x02, 0x04
RAW, PROTOBUF, JSON = range(3)
CALL, HEALTH, PUBLISH = 0x0000, 0x0001, 0x0501


class Frame:
    def __init__(self, kind, sequence=0, body=b"", codec=RAW, command=CALL, metadata=None, flags=0, destination=0):
        self.kind, self.sequence, self.body, self.codec, self.command = kind, sequence, body, codec, command
        self.metadata, self.flags, self.destination, self.version = metadata, flags, destination, VERSION

    def encode(self):
        block = b""
        if self.metadata is not None:  # the JSON text of the block
            self.flags |= METADATA
            block = struct.pack(">H", len(self.metadata)) + self.metadata
        head = HEAD.pack(MAGIC, self.version, self.kind, self.flags, self.codec, self.command, self.destination,
                         self.sequence, len(block) + len(self.body))
        data = head + block + self.body
        return data + struct.pack(">H", binascii.crc_hqx(data[2:], 0))  # CRC-16/XMODEM of all but the magic


class Broken(Exception):
    """Bytes that are no frame: magic, version, oversize, crc, kind, codec or metadata."""


def decode(data):
    """The first frame of `data` and how many bytes it has, or (None, 0) when it is not all there."""
    if len(data) >= 2 and data[:2] != b"\xaa\xaa":
        raise Broken("magic")
    if len(data) >= 3 and data[2] >> 4 != VERSION >> 4:
        raise Broken("version")
    if len(data) < HEAD.size:
        return None, 0
    _, version, kind, flags, codec, command, destination, sequence, length = HEAD.unpack_from(data)
    if length > PAYLOAD_MAX:
        raise Broken("oversize")
    end = HEAD.size + length
    if len(data) < end + 2:
        return None, 0
    if binascii.crc_hqx(bytes(data[2:end]), 0) != struct.unpack_from(">H", data, end)[0]:
        raise Broken("crc")
    if kind > GOAWAY or codec > JSON:
        raise Broken("kind" if kind > GOAWAY else "codec")
    payload, metadata = bytes(data[HEAD.size:end]), None
    if flags & METADATA:
        if length < 2 or 2 + struct.unpack_from(">H", payload)[0] > length:
            raise Broken("metadata")
        body = 2 + struct.unpack_from(">H", payload)[0]
        payload, metadata = payload[body:], payload[2:body]
    frame = Frame(kind, sequence, payload, codec, command, metadata, flags, destination)
    frame.version = version
    return frame, end + 2


class CallError(Exception):
    """The server's answer to a call that failed: code, name, message, retryable, details."""


class Client:
    def __init__(self, host, port, token=None, timeout=30.0):
        self.socket = socket.create_connection((host, port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data, self.events, self.sequences = bytearray(), [], itertools.count(1)
        metadata = {"authorization": "Bearer " + token} if token else None
        hello = {"client": "frame_client.py/1", "codecs": ["json"], "resume": ""}
        self.session = json.loads(next(self.ask(HELLO, hello, metadata)).body)

    def send(self, kind, body=None, metadata=None, command=CALL, sequence=0):
        text = json.dumps(metadata).encode() if metadata else None
        body = b"" if body is None else json.dumps(body).encode()
        self.socket.sendall(Frame(kind, sequence, body, JSON if body else RAW, command, text).encode())

    def read(self):
        """The next frame that is no ping; a real client would also look for the next magic after a broken frame."""
        while True:
            frame, used = decode(self.data)
            if frame is None:
                data = self.socket.recv(65536)
                if not data:
                    raise ConnectionError("the server closed the connection")
                self.data += data
                continue
            del self.data[:used]
            if frame.kind != PING:
                return frame
            self.send(PONG, sequence=frame.sequence)

    def ask(self, kind, body=None, metadata=None, command=CALL):
        """Sends a frame and gives its answers, which are many for a stream; events are kept for `next_event`."""
        sequence = next(self.sequences)
        self.send(kind, body, metadata, command, sequence)
        while True:
            frame = self.read()
            if frame.kind == EVENT:
                self.events.append(frame)
            elif frame.kind in (ERROR, GOAWAY) and frame.sequence in (0, sequence):
                raise CallError(json.loads(frame.body or b"{}"))
            elif frame.sequence == sequence:
                yield frame
                if not frame.flags & MORE:
                    return

    def call(self, method, request):
        return json.loads(next(self.ask(REQUEST, request, {"method": method})).body or b"{}")

    def ping(self):
        return next(self.ask(PING)).kind == PONG

    def publish(self, topic, message):
        next(self.ask(REQUEST, message, {"topic": topic}, PUBLISH))

    def subscribe(self, topic):
        next(self.ask(SUBSCRIBE, {"topic": topic}))

    def next_event(self):
        frame = self.events.pop(0) if self.events else self.read()
        while frame.kind != EVENT:
            frame = self.read()
        return json.loads(frame.metadata)["topic"], json.loads(frame.body)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    HOST, PORT = sys.argv[1].rsplit(":", 1)
    print(json.dumps(Client(HOST, int(PORT), *sys.argv[4:5]).call(sys.argv[2], json.loads(sys.argv[3]))))
