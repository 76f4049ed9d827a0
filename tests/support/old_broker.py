# SPDX-License-Identifier: Apache-2.0
"""What stands between a client and a broker."""
import socket
import threading


class Relay:
    """Passes on what both say."""

    def __init__(self, broker):
        self.broker, self.pairs = broker, []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp://127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            try:
                self.join(client)
            except OSError:
                client.close()

    def join(self, client):
        self.connect(client, b"")

    def connect(self, client, first):
        broker = socket.create_connection((self.broker.host, self.broker.port))
        broker.sendall(first)
        self.pairs.append((client, broker))
        for source, target in ((client, broker), (broker, client)):
            threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        self.end(source, target)

    @staticmethod
    def end(*sockets):
        for s in sockets:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def drop_all(self, last_words):
        """Says this to each client, and no more."""
        pairs, self.pairs = self.pairs, []
        for client, broker in pairs:
            try:
                client.sendall(last_words)
                client.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it has left before

    def close(self):
        self.server.close()


class OldBroker(Relay):
    """What it knows is MQTT 3.1.1, and it says so to whoever comes with 5."""

    LEVEL = 8  # where it stands in a CONNECT whose length takes one byte; two move it by one

    @staticmethod
    def first_packet(client):
        """All that has come once it is whole; nothing where the client has left before."""
        first = b""
        while _body(first) is None:
            data = client.recv(4096)
            if not data:
                return b""
            first += data
        return first

    def __init__(self, broker):
        self.seen = []
        super().__init__(broker)

    def join(self, client):
        first = self.first_packet(client)
        level = first[self.LEVEL + (first[1] >> 7)] if first else 0
        self.seen.append(level)
        if level == 4:
            self.connect(client, first)
        else:
            client.sendall(b"\x20\x02\x00\x01")
            client.close()


def _varint(n):
    out = b""
    while True:
        n, low = n >> 7, n & 0x7f
        out += bytes([low | 0x80 if n else low])
        if not n:
            return out


def _body(packet):
    """What comes behind the fixed header; None: the packet is not whole yet."""
    at, length, shift = 1, 0, 0
    while at < len(packet):
        length |= (packet[at] & 0x7f) << shift
        at, shift = at + 1, shift + 7
        if not packet[at - 1] & 0x80:
            return packet[at:at + length] if len(packet) >= at + length else None
    return None


def packet(first, body):
    return bytes([first]) + _varint(len(body)) + body


def text_property(identifier, text):
    return bytes([identifier]) + len(text).to_bytes(2, "big") + text.encode()


def connack(code, properties=b""):
    return packet(0x20, bytes([0, code]) + _varint(len(properties)) + properties)


def disconnect(code, properties=b""):
    return packet(0xE0, bytes([code]) + _varint(len(properties)) + properties)


class Meddler(Relay):
    """Between packets of MQTT 5: `answer` is given each packet of a client (its first byte, what follows the fixed header), and says
    what the client gets in place of the broker; None: the broker has it. `change` is given those of the broker."""

    def __init__(self, broker, answer=lambda first, body: None, change=lambda first, body: None):
        self.answer, self.change = answer, change
        super().__init__(broker)

    def _pump(self, source, target):
        is_client = any(source is client for client, _ in self.pairs)
        left = b""
        try:
            while data := source.recv(65536):
                left += data
                while (body := _body(left)) is not None:
                    n = 1 + len(_varint(len(body))) + len(body)
                    self._pass_on(is_client, source, target, left[:n], body)
                    left = left[n:]
        except OSError:
            pass
        self.end(source, target)

    def _pass_on(self, is_client, source, target, whole, body):
        if is_client:
            answer = self.answer(whole[0], body)
            (target if answer is None else source).sendall(whole if answer is None else answer)
            return
        change = self.change(whole[0], body)
        target.sendall(whole if change is None else change)
        if change and change[0] == 0x20 and change[3]:
            self.end(source, target)
