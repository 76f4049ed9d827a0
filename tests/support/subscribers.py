# SPDX-License-Identifier: Apache-2.0
"""Subscribers of events that read only when a test says so: WebSockets and Server-Sent Events on bare sockets."""
import base64
import json
import os
import re
import socket
import struct
import threading

from support.mistd import PATIENCE

TIMEOUT = 30


def metric(gateway, name, **labels):
    """The value of the sample that has these labels, and perhaps others. None: there is none yet."""
    lines = [line for line in gateway.get("/metrics").text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
    found = [line for line in lines if labels.items() <= dict(re.findall(r'(\w+)="([^"]*)"', line)).items()]
    assert len(found) <= 1, found
    return float(found[0].rpartition(" ")[2]) if found else None


def descriptors(gateway):
    """How many it has, without those of the database: of these there are more once it was read by several threads at once."""
    folder, database, n = f"/proc/{gateway.pid}/fd", str(gateway.data / "mist.db"), 0
    for name in os.listdir(folder):
        try:
            n += not os.readlink(f"{folder}/{name}").startswith(database)
        except FileNotFoundError:
            pass  # it was closed since
    return n


def run_many(gateway, n, text):
    """Jobs that echo, all on one connection, one request behind the other."""
    body = json.dumps({"text": text})
    request = f"POST /v2/api/functions/echo/jobs?force=true HTTP/1.1\r\nHost: {gateway.host}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    with socket.create_connection((gateway.host, gateway.port), timeout=60 * PATIENCE) as client:
        sender = threading.Thread(target=client.sendall, args=(request.encode() * n,))
        sender.start()
        answers = b""
        while answers.count(b'{"success":true') < n:
            piece = client.recv(1 << 16)
            assert piece and b"HTTP/1.1 4" not in piece, piece
            answers += piece
        sender.join()


def in_the_kernel(client, gateway):
    """What the kernel says of the gateway's end of a connection of this machine: its row of /proc/net/tcp."""
    ports = [f":{gateway.port:04X}", f":{client.getsockname()[1]:04X}"]
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table]
    return [row for row in rows if [row[1][-5:], row[2][-5:]] == ports]


class Closed(Exception):
    """The gateway closed; `code` is the one of its close frame, if it sent one."""

    def __init__(self, code=None):
        super().__init__(f"closed with {code}")
        self.code = code


class Connection:
    def __init__(self, gateway, path, headers=(), receive_buffer=None):
        self.gateway = gateway
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(TIMEOUT * PATIENCE)
        self.socket.connect((gateway.host, gateway.port))
        lines = [f"GET {path} HTTP/1.1", f"Host: {gateway.host}:{gateway.port}", *headers, "", ""]
        self.socket.sendall("\r\n".join(lines).encode())
        self.data = b""
        while b"\r\n\r\n" not in self.data:
            self._more()
        self.head, self.data = self.data.split(b"\r\n\r\n", 1)
        self.status = int(self.head.split()[1])

    def _more(self):
        try:
            piece = self.socket.recv(1 << 16)
        except TimeoutError as e:  # bytes to send (the fifth column) that do not come are the kernel's, none the gateway's
            raise TimeoutError(f"nothing came behind {self.data[-100:]}; {in_the_kernel(self.socket, self.gateway)}") from e
        if not piece:
            raise Closed
        self.data += piece

    def _take(self, n):
        while len(self.data) < n:
            self._more()
        piece, self.data = self.data[:n], self.data[n:]
        return piece

    def _line(self):
        while b"\n" not in self.data:
            self._more()
        line, self.data = self.data.split(b"\n", 1)
        return line

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class WebSocket(Connection):
    def __init__(self, gateway, path, **options):
        key = base64.b64encode(os.urandom(16)).decode()
        super().__init__(gateway, path, ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                                         f"Sec-WebSocket-Key: {key}"], **options)
        assert self.status == 101, self.head

    def text(self):
        """The next text frame."""
        first, length = self._take(2)
        if length == 126:
            length = struct.unpack(">H", self._take(2))[0]
        elif length == 127:
            length = struct.unpack(">Q", self._take(8))[0]
        payload = self._take(length)
        if first & 15 == 8:
            raise Closed(struct.unpack(">H", payload[:2])[0])
        assert first == 0x81, f"frame {first:#x}"
        return payload.decode()

    def event(self):
        """The next one that is no sign of life."""
        while (event := json.loads(self.text())) == {"event": "keep-alive"}:
            pass
        return event


class Stream(Connection):
    """Server-Sent Events; the answer comes in chunks."""

    def __init__(self, gateway, path, last_id=None, headers=(), **options):
        super().__init__(gateway, path, [*headers, *([f"Last-Event-ID: {last_id}"] if last_id else [])], **options)
        self.body, self.id = b"", None
        self.is_chunked = b"chunked" in self.head

    def _chunk(self):
        n = int(self._line(), 16)
        piece = self._take(n + 2)[:-2]
        if not piece:
            raise Closed
        self.body += piece

    def block(self):
        """The next event or comment: its lines as a dict; the name of a comment is ""."""
        while b"\n\n" not in self.body:
            self._chunk()
        block, self.body = self.body.split(b"\n\n", 1)
        return dict(line.split(": ", 1) for line in block.decode().split("\n"))

    def event(self):
        block = self.block()
        while "data" not in block:
            block = self.block()
        self.id = block.get("id", self.id)
        event = json.loads(block["data"])
        assert event["event"] == block["event"]
        return event

    def rest(self):
        """All events to the end of the stream."""
        events = []
        try:
            while True:
                events.append(self.event())
        except Closed:
            return events
