# SPDX-License-Identifier: Apache-2.0
"""HTTP as bytes on a socket, for what no client library sends."""
import contextlib
import json
import os
import re
import socket

from support.http import openapi
from support.mistd import PATIENCE


class Answer:
    def __init__(self, data):
        head, _, self.body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.data, self.status = data, int(re.match(r"HTTP/1\.[01] (\d+)", lines[0])[1]) if lines[0] else None
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}

    def detail(self):
        return json.loads(self.body)["detail"]


def connect(gateway, timeout=30):
    return socket.create_connection((gateway.host, gateway.port), timeout=timeout * PATIENCE)


def read_all(s):
    """What comes until the connection ends."""
    data = b""
    try:
        while block := s.recv(65536):
            data += block
    except ConnectionResetError:
        pass
    return data


def read_answer(s):
    """The next answer on a connection that goes on, whole; it has to have a Content-Length."""
    data, length = b"", None
    while length is None or len(data) < length:
        block = s.recv(65536)
        if not block:
            break
        data += block
        head, is_whole, _ = data.partition(b"\r\n\r\n")
        if is_whole:
            length = len(head) + 4 + int(re.search(rb"\r\ncontent-length: (\d+)", head, re.IGNORECASE)[1])
    return Answer(data)


def ask(gateway, *lines, body=b"", close=True):
    """The answer to a request of these lines; `close` asks for the end of the connection, which shows that it came. It has to be as
    proto/openapi.yaml says."""
    lines = [line if isinstance(line, bytes) else line.encode() for line in lines]
    if close:
        lines.append(b"Connection: close")
    with connect(gateway) as s:
        with contextlib.suppress(ConnectionError):  # it may be answered, and ended, before all of it is sent
            s.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        answer = Answer(read_all(s))
    words = lines[0].decode("latin-1").split(" ")
    is_of_library = answer.status in (400, 414, 431, 505) and "content-type" not in answer.headers  # libmicrohttpd could not read it
    if answer.status and len(words) == 3 and words[1].startswith("/") and not is_of_library:
        is_whole = len(answer.body) == int(answer.headers.get("content-length", -1))
        openapi.check_answer(words[0], words[1], answer.status, answer.headers, answer.body if is_whole else None)
    return answer


def cpu_seconds(gateway):
    with open(f"/proc/{gateway.pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
