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

    def __init__(self, broker):
        self.seen = []
        super().__init__(broker)

    def join(self, client):
        first = client.recv(4096)
        level = first[self.LEVEL + (first[1] >> 7)] if first else 0
        self.seen.append(level)
        if level == 4:
            self.connect(client, first)
        else:
            client.sendall(b"\x20\x02\x00\x01")
            client.close()
