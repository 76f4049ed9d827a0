# SPDX-License-Identifier: Apache-2.0
"""A real MQTT broker for a test, Debian's mosquitto, with all it keeps in one folder."""
import os
import pwd
import subprocess
import uuid

from support.child_process import ChildProcess, free_port
from support.mistd import until
from support.mqtt_client import MqttClient, Refused

DAYS = "2"
BROKER = "/usr/sbin/mosquitto"  # not in everybody's PATH


class Certificates:
    """An authority, and what it signed: for the server at 127.0.0.1, and for one client. Made anew for each test."""

    def __init__(self, directory, client="gateway"):
        self.home = directory
        self.home.mkdir(parents=True, exist_ok=True)
        self.ca, self.ca_key = self.home / "ca.pem", self.home / "ca.key"
        self._openssl("req", "-x509", *self._new_key(self.ca_key), "-out", self.ca, "-days", DAYS, "-subj", "/CN=test authority")
        self.server, self.server_key = self.sign("server", "localhost", "subjectAltName=IP:127.0.0.1,DNS:localhost")
        self.client, self.client_key = self.sign("client", client, "extendedKeyUsage=clientAuth")

    def sign(self, name, common_name, extension):
        """(certificate, key)"""
        certificate, key, request, extensions = (self.home / f"{name}.{end}" for end in ("pem", "key", "csr", "ext"))
        extensions.write_text(extension + "\n")
        self._openssl("req", *self._new_key(key), "-out", request, "-subj", f"/CN={common_name}")
        self._openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.ca_key, "-CAcreateserial",
                      "-out", certificate, "-days", DAYS, "-extfile", extensions)
        return certificate, key

    def for_client(self, with_certificate):
        """What an MqttClient wants to be told."""
        own = {"certificate": str(self.client), "key": str(self.client_key)} if with_certificate else {}
        return {"ca": str(self.ca), **own}

    @staticmethod
    def _new_key(path):
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path)

    @staticmethod
    def _openssl(*arguments):
        done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 0, f"openssl {arguments[0]}: {done.stderr}"


class Mosquitto(ChildProcess):
    """tls: speaks TLS only. client_certificates: takes only clients that show one. user and password: takes only these. `settings`
    are more lines of mosquitto.conf. It writes its state down on every change, but acknowledges a message before it does: a kill -9
    then loses the message, as with any mosquitto. What was acknowledged before saved() is there after a kill -9."""

    name = "mosquitto"

    def __init__(self, directory, port=None, tls=False, client_certificates=False, user=None, password=None, settings=(),
                 start=True):
        super().__init__(directory)
        self.host, self.port = "127.0.0.1", port or free_port()
        self.user, self.password, self.settings = user, password, list(settings)
        self.certificates = Certificates(self.home / "certificates") if tls or client_certificates else None
        self.client_certificates = client_certificates
        self._clients, self._publisher, self._connections = [], None, {}
        self._write_configuration()
        if start:
            self.start()

    @property
    def url(self):
        """As paho's C library writes it."""
        return f"{'ssl' if self.certificates else 'tcp'}://{self.host}:{self.port}"

    def _write_configuration(self):
        (self.home / "data").mkdir(exist_ok=True)
        lines = [f"listener {self.port} {self.host}", f"user {pwd.getpwuid(os.getuid()).pw_name}",
                 "persistence true", f"persistence_location {self.home}/data/", "autosave_on_changes true", "autosave_interval 1",
                 "max_queued_messages 0", "set_tcp_nodelay true", "log_dest stderr", "log_timestamp_format %H:%M:%S",
                 "connection_messages true"]
        if self.certificates:
            c = self.certificates
            lines += [f"cafile {c.ca}", f"certfile {c.server}", f"keyfile {c.server_key}",
                      f"require_certificate {str(self.client_certificates).lower()}"]
        if self.user is None:
            lines.append("allow_anonymous true")
        else:
            passwords = self.home / "passwords"
            passwords.touch(mode=0o600)
            subprocess.run(["mosquitto_passwd", "-b", passwords, self.user, self.password], check=True, capture_output=True)
            lines += ["allow_anonymous false", f"password_file {passwords}"]
        (self.home / "mosquitto.conf").write_text("\n".join([*lines, *self.settings]) + "\n")

    def command(self):
        return [BROKER, "-c", self.home / "mosquitto.conf"]

    def is_ready(self):
        try:
            self._new_client().connect(timeout=2).disconnect()
        except (OSError, Refused, AssertionError):
            return False
        return True

    def wait_until_ready(self):
        """And until the clients of before are back, with their subscriptions: else what is published now would pass them by."""
        super().wait_until_ready()
        for client, connections in self._connections.items():
            until(lambda: client.is_back(connections), what="a client's return to mosquitto")
        self._connections = {}
        return self

    def stop(self, timeout=30):
        super().stop(timeout)
        self._remember_connections()

    def kill9(self):
        super().kill9()
        self._remember_connections()

    def _remember_connections(self):
        self._connections = {client: client.connections for client in self._clients}

    # Clients of it, ended with it

    def _new_client(self, **options):
        if self.certificates:
            options.setdefault("tls", self.certificates.for_client(self.client_certificates))
        return MqttClient(self.host, self.port, **{"user": self.user, "password": self.password, **options})

    def client(self, **options):
        """A connected MqttClient; options are its own."""
        client = self._new_client(**options).connect()
        self._clients.append(client)
        return client

    def subscribe(self, *topics, qos=1, **options):
        """A client that collects what comes to the topics. Without a session it misses what is sent while it is away, also what
        another client sends again when the broker comes back a moment before it."""
        return self.client(**options).subscribe(*topics, qos=qos)

    def pub(self, topic, payload=b"", qos=1, retain=False, user=(), **properties):
        """Publishes, and returns when the broker has acknowledged it."""
        if self._publisher is None:
            self._publisher = self.client()
        self._publisher.publish(topic, payload, qos, retain, user, **properties)

    def saved(self):
        """Returns once all that it has acknowledged is in its file."""
        mark = uuid.uuid4().hex
        self.pub("saved", mark, retain=True)
        until(lambda: mark.encode() in (self.home / "data" / "mosquitto.db").read_bytes(), what="mosquitto's file")

    def drop_clients(self):
        for client in self._clients:
            client.drop()
        self._clients, self._publisher, self._connections = [], None, {}

    def close(self):
        super().close()
        self.drop_clients()
