# SPDX-License-Identifier: Apache-2.0
"""Real Kafka for a test: brokers in KRaft mode from Maven's jars, what they keep in one folder, and clients on librdkafka.
One broker is its own controller. Of several each may die: the controller is a process of its own. A broker that is `secured` can be
reached by TLS too, with a password or with a certificate."""
import fcntl
import json
import os
import shutil
import subprocess
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import confluent_kafka
from confluent_kafka.admin import (
    AdminClient, NewTopic, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion,
)

from support.child_process import ChildProcess, free_port
from support.mistd import PATIENCE, ROOT, until
from support.mosquitto import Certificates

POM = ROOT / "tests" / "support" / "kafka" / "pom.xml"
TIMEOUT = 30
CONTROLLER = 100


def libraries():
    """The folder with the broker's jars; Maven brings them the first time, and when the pom has changed."""
    folder = Path(os.environ.get("MIST_KAFKA_LIBS", ROOT / ".mist" / "kafka-libs"))
    folder.parent.mkdir(parents=True, exist_ok=True)
    made_with = folder / "pom.xml"
    with open(folder.with_name(folder.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made_with.exists() or made_with.read_bytes() != POM.read_bytes():
            shutil.rmtree(folder, ignore_errors=True)
            done = subprocess.run(["mvn", "-B", "-q", "-f", POM, "dependency:copy-dependencies", "-DincludeScope=runtime",
                                   f"-DoutputDirectory={folder}"], capture_output=True, text=True)
            assert done.returncode == 0, f"Maven did not bring the Kafka broker: {done.stdout[-4000:]}{done.stderr[-2000:]}"
            made_with.write_bytes(POM.read_bytes())
    return folder


def _java(heap_mb, *arguments):
    home = os.environ.get("JAVA_HOME")
    return [f"{home}/bin/java" if home else "java", f"-Xmx{heap_mb}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-cp", f"{libraries()}/*", *arguments]


def _listens(port):
    """Somebody does, as the kernel tells it; no connection is made."""
    wanted = f":{port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines() + Path("/proc/net/tcp6").read_text().splitlines()
    return any(words[1].endswith(wanted) and words[3] == "0A" for words in map(str.split, lines[1:]) if len(words) > 3)


class Secured:
    """Two more listeners of a broker: `with_password` is SASL over TLS, `with_certificate` is TLS for clients that show one."""

    PLAIN_USER, PLAIN_PASSWORD = "plain-user", "plain, but not told"

    def __init__(self, directory):
        self.certificates = Certificates(directory / "certificates")
        self.with_password, self.with_certificate = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.keystore = self.certificates.home / "keystore.pem"
        self.keystore.write_bytes(self.certificates.server_key.read_bytes() + self.certificates.server.read_bytes())

    def properties(self, listeners, protocols):
        modules, sasl = "org.apache.kafka.common.security", "listener.name.sasl_ssl"
        return {
            "listeners": f"{listeners},SASL_SSL://{self.with_password},SSL://{self.with_certificate}",
            "listener.security.protocol.map": f"{protocols},SASL_SSL:SASL_SSL,SSL:SSL",
            "ssl.keystore.type": "PEM", "ssl.keystore.location": self.keystore,
            "ssl.truststore.type": "PEM", "ssl.truststore.location": self.certificates.ca,
            "listener.name.ssl.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            f"{sasl}.plain.sasl.jaas.config":
                f'{modules}.plain.PlainLoginModule required user_{self.PLAIN_USER}="{self.PLAIN_PASSWORD}";',
            **{f"{sasl}.scram-sha-{bits}.sasl.jaas.config": f"{modules}.scram.ScramLoginModule required;" for bits in (256, 512)}}


class Node(ChildProcess):
    """One process of a cluster: a broker, a controller, or both."""

    ready_timeout = 120

    def __init__(self, directory, number, cluster, roles, settings):
        super().__init__(directory)
        self.number, self.cluster, self.roles = number, cluster, roles
        self.name = f"Kafka's {roles} {number}"
        self.port = cluster.controller_port if roles == "controller" else free_port()
        listeners = {"broker": f"PLAINTEXT://127.0.0.1:{self.port}", "controller": f"CONTROLLER://127.0.0.1:{cluster.controller_port}"}
        voter = CONTROLLER if cluster.size > 1 else 1
        properties = {
            "process.roles": roles, "node.id": number, "log.dirs": self.home / "data",
            "controller.quorum.voters": f"{voter}@127.0.0.1:{cluster.controller_port}",
            "controller.listener.names": "CONTROLLER", "listeners": ",".join(listeners[r] for r in roles.split(",")),
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "num.partitions": 1, "auto.create.topics.enable": "false", "default.replication.factor": cluster.size,
            "offsets.topic.replication.factor": cluster.size, "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": cluster.size, "transaction.state.log.num.partitions": 4,
            "transaction.state.log.min.isr": 1, "min.insync.replicas": 1, "group.initial.rebalance.delay.ms": 0,
            "message.max.bytes": 12 * 1024 * 1024, "replica.fetch.max.bytes": 12 * 1024 * 1024,
            # A broker that died is missed soon, and one that stops does not keep a test waiting.
            "broker.session.timeout.ms": 3000, "broker.heartbeat.interval.ms": 500, "controlled.shutdown.enable": cluster.size > 1,
            "log.retention.ms": -1, "log.segment.delete.delay.ms": 1000, "num.io.threads": 2, "num.network.threads": 2,
            **settings}
        if roles == "broker":
            properties["advertised.listeners"] = listeners["broker"]
        if cluster.secured:
            properties |= cluster.secured.properties(properties["listeners"], properties["listener.security.protocol.map"])
        self.properties = self.home / "server.properties"
        self.properties.write_text("".join(f"{name}={str(value).lower() if isinstance(value, bool) else value}\n"
                                           for name, value in properties.items()))

    def format(self):
        done = subprocess.run(_java(128, "kafka.tools.StorageTool", "format", "-t", self.cluster.id, "-c", self.properties),
                              cwd=self.home, capture_output=True, text=True)
        assert done.returncode == 0, f"Kafka's storage was not formatted: {done.stdout}{done.stderr}"

    def command(self):
        return _java(512 if "broker" in self.roles else 192, "kafka.Kafka", self.properties)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def is_ready(self):
        """It answers as a broker of the cluster, and every partition has a leader that is in it."""
        if not _listens(self.port):
            return False
        if self.roles == "controller":
            return True
        try:
            seen = AdminClient({"bootstrap.servers": self.address, "log_level": 0}).list_topics(timeout=2)
        except confluent_kafka.KafkaException:
            return False
        leaders = {p.leader for t in seen.topics.values() for p in t.partitions.values()}
        return self.number in seen.brokers and leaders <= set(seen.brokers)

    def stop(self, timeout=60):
        super().stop(timeout)


@dataclass
class Record:
    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: dict = field(default_factory=dict)  # text; the last one of a name that came twice


def _record(m):
    headers = {name: None if value is None else value.decode(errors="replace") for name, value in m.headers() or ()}
    return Record(m.topic(), m.partition(), m.offset(), m.key(), m.value(), headers)


class Reader:
    """Reads topics from their beginning into a list, in a thread of its own. With a group it is a member of it, and commits what it
    has read when it ends."""

    def __init__(self, kafka, topics, group=None, **settings):
        self._changed, self._records, self._ends = threading.Condition(), [], threading.Event()
        self.consumer = confluent_kafka.Consumer({
            "bootstrap.servers": kafka.bootstrap, "group.id": group or f"reader-{uuid.uuid4().hex}", "auto.offset.reset": "earliest",
            "enable.auto.commit": bool(group), "isolation.level": "read_committed", "log_level": 0, "session.timeout.ms": 6000,
            "topic.metadata.refresh.interval.ms": 500, "reconnect.backoff.max.ms": 500, "fetch.wait.max.ms": 20,
            "allow.auto.create.topics": False, "error_cb": lambda error: None, **settings})
        self.consumer.subscribe([topics] if isinstance(topics, str) else list(topics))
        self._thread = threading.Thread(target=self._read, name="reader", daemon=True)
        self._thread.start()

    def _read(self):
        while not self._ends.is_set():
            arrived = [m for m in self.consumer.consume(1000, 0.02) if not m.error()]
            with self._changed:
                self._records.extend(map(_record, arrived))
                self._changed.notify_all()
        self.consumer.close()

    @property
    def records(self):
        with self._changed:
            return list(self._records)

    def wait(self, count=1, matching=lambda record: True, timeout=TIMEOUT):
        """The first `count` records that match, once there are so many."""
        found = []

        def enough():
            found[:] = [r for r in self._records if matching(r)]
            return len(found) >= count

        with self._changed:
            if not self._changed.wait_for(enough, timeout * PATIENCE):
                shown = [(r.topic, r.key, r.value and r.value[:200]) for r in self._records[-10:]]
                raise AssertionError(f"{len(found)} of {count} records within {timeout * PATIENCE:g} s; the last of all: {shown}")
        return found[:count]

    def wait_one(self, matching=lambda record: True, timeout=TIMEOUT):
        return self.wait(1, matching, timeout)[0]

    def wait_until(self, predicate, timeout=TIMEOUT):
        """Until predicate(all records) is true; its value."""
        with self._changed:
            value = self._changed.wait_for(lambda: predicate(list(self._records)), timeout * PATIENCE)
            assert value, f"not within {timeout * PATIENCE:g} s, with {len(self._records)} records"
            return value

    def close(self):
        self._ends.set()
        self._thread.join()


def _fnv_1a(parts):
    """Each with its length; 0 for one that is None."""
    value = 0xcbf29ce484222325
    for part in parts:
        for number in (0 if part is None else len(part) + 1, *(part or b"")):
            value = (value ^ number) * 0x100000001b3 % 2**64
    return value


class Kafka:
    """A cluster of `size` brokers, started. secured: see above, of one broker. settings: more lines of every server.properties,
    with _ for the dots."""

    def __init__(self, directory, size=1, start=True, secured=False, **settings):
        self.home, self.size, self.id = Path(directory), size, "bWlzdC10ZXN0LWthZmthMQ"
        self.secured = Secured(self.home) if secured else None
        self.controller_port = free_port()
        self._readers, self._producer, self._admin = [], None, None
        self._making = threading.Lock()  # a client that another thread puts another one in place of ends at once
        settings = {name.replace("_", "."): value for name, value in settings.items()}
        roles = "broker,controller" if size == 1 else "broker"
        self.brokers = [Node(self.home / f"broker-{i}", i, self, roles, settings) for i in range(1, size + 1)]
        self.nodes = list(self.brokers)
        if size > 1:
            self.nodes.insert(0, Node(self.home / "controller", CONTROLLER, self, "controller", settings))
        for node in self.nodes:
            node.format()
        if start:
            try:
                self.start()
            except BaseException:
                self.close()
                raise

    @classmethod
    def cluster(cls, directory, size=2, **settings):
        return cls(directory, size, **settings)

    @property
    def bootstrap(self):
        return ",".join(broker.address for broker in self.brokers)

    # The life of all of it; a single broker is one of `brokers`

    def start(self):
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_until_ready()
        return self

    def stop(self):
        for node in reversed(self.nodes):
            node.stop()

    def kill9(self):
        for node in self.nodes:
            node.kill9()

    def restart(self):
        self.stop()
        return self.start()

    def pause(self):
        for node in self.nodes:
            node.pause()

    def resume(self):
        for node in self.nodes:
            node.resume()

    def is_running(self):
        return all(node.is_running() for node in self.nodes)

    def close_readers(self):
        for reader in self._readers:
            reader.close()
        self._readers = []

    def close(self):
        self.close_readers()
        for node in self.nodes:
            node.close()
        self._producer = self._admin = None

    def log(self):
        return "\n".join(f"-- {node.name}\n{node.log()}" for node in self.nodes)

    # Users, topics

    def set_password(self, user, password, mechanism):
        """Of a user by SCRAM, who is made."""
        credential = ScramCredentialInfo(ScramMechanism[mechanism.replace("-", "_")], 4096)
        changes = [UserScramCredentialUpsertion(user, credential, password.encode())]
        for future in self.admin.alter_user_scram_credentials(changes).values():
            future.result(TIMEOUT * PATIENCE)

    @property
    def admin(self):
        with self._making:
            if self._admin is None:
                self._admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
            return self._admin

    def create_topic(self, *names, partitions=1, replicas=None, **settings):
        """Returns when every partition has a leader. settings: of the topics, with _ for the dots."""
        config = {name.replace("_", "."): str(value) for name, value in settings.items()}
        missing = list(names)

        def made():
            topics = [NewTopic(name, partitions, replicas or self.size, config=config) for name in missing]
            for name, future in self.admin.create_topics(topics, operation_timeout=TIMEOUT).items():
                try:
                    future.result(TIMEOUT * PATIENCE)
                except confluent_kafka.KafkaException as e:
                    # A broker that was not scheduled for some seconds is thought dead by its controller until it is heard of.
                    if e.args[0].code() != confluent_kafka.KafkaError.INVALID_REPLICATION_FACTOR:
                        raise
                    continue
                missing.remove(name)
            return not missing

        until(made, what=f"topics {', '.join(names)}")
        for name in names:
            until(lambda: all(leader >= 0 for leader in self.leaders(name).values() or [-1]), what=f"leaders of topic {name}")
        return names[0]

    def leaders(self, topic):
        """{partition: the number of the broker that leads it, -1 for none}"""
        described = self.admin.list_topics(topic, timeout=TIMEOUT).topics[topic]
        return {number: partition.leader for number, partition in described.partitions.items()}

    def leader_of(self, topic, partition=0):
        """The broker, to be killed."""
        return self.brokers[self.leaders(topic)[partition] - 1]

    def ends(self, topic):
        """{partition: how many records it has got}"""
        return self.with_consumer(None, lambda c: {
            number: c.get_watermark_offsets(confluent_kafka.TopicPartition(topic, number), timeout=TIMEOUT)[1]
            for number in self.leaders(topic)})

    def committed(self, group, topic):
        """{partition: the offset a group goes on from, None when it has committed none}"""
        def ask(consumer):
            wanted = [confluent_kafka.TopicPartition(topic, number) for number in self.leaders(topic)]
            return {p.partition: p.offset if p.offset >= 0 else None for p in consumer.committed(wanted, timeout=TIMEOUT)}

        return self.with_consumer(group, ask)

    def mark(self, topic, offset):
        """A record of partition 0 as the gateway tells it in a commit's metadata. That is not read: librdkafka's text of it has no end,
        which the Python client takes for granted."""
        def read(consumer):
            consumer.assign([confluent_kafka.TopicPartition(topic, 0, offset)])
            return until(lambda: (message := consumer.poll(0.1)) and not message.error() and message, what="the record")

        record = self.with_consumer(None, read)
        parts = [record.key(), record.value(), *(part for name, value in record.headers() or () for part in (name.encode(), value))]
        return f"@{record.timestamp()[1]}.{_fnv_1a(parts):x}"

    def with_consumer(self, group, ask):
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.bootstrap, "group.id": group or "looks", "log_level": 0})
        try:
            return ask(consumer)
        finally:
            consumer.close()

    # Records

    def produce_soon(self, topic, value, key=None, headers=(), partition=-1, told=None):
        """Hands it over. told(error, message): called by flush() or a later call, when the broker has taken it or it was given up."""
        with self._making:
            if self._producer is None:
                self._producer = confluent_kafka.Producer({
                    "bootstrap.servers": self.bootstrap, "enable.idempotence": True, "linger.ms": 1, "log_level": 0,
                    "message.max.bytes": 12 * 1024 * 1024, "reconnect.backoff.max.ms": 500, "error_cb": lambda error: None,
                    "topic.metadata.refresh.interval.ms": 1000, "queue.buffering.max.messages": 1_000_000})
        headers = list(headers.items()) if isinstance(headers, dict) else list(headers)
        self._producer.produce(topic, value, key, partition, told, headers=headers)
        self._producer.poll(0)

    def flush(self, timeout=TIMEOUT):
        left = self._producer.flush(timeout * PATIENCE)
        assert left == 0, f"{left} records were not taken within {timeout * PATIENCE:g} s"

    def produce(self, topic, value, key=None, headers=(), partition=-1, timeout=TIMEOUT):
        """(partition, offset) once the broker has it."""
        answer = []
        self.produce_soon(topic, value, key, headers, partition, lambda error, m: answer.append((error, m)))
        deadline = time.monotonic() + timeout * PATIENCE
        while not answer and time.monotonic() < deadline:
            self._producer.poll(0.05)
        assert answer, f"a record to {topic} was not taken within {timeout * PATIENCE:g} s"
        error, message = answer[0]
        assert error is None, f"a record to {topic} was refused: {error}"
        return message.partition(), message.offset()

    def read(self, *topics, group=None, **settings):
        """A Reader, ended with the cluster."""
        reader = Reader(self, topics, group, **settings)
        self._readers.append(reader)
        return reader


class Door:
    """The settings of one instance of a gateway's transport, its topics made, and what a client does with them."""

    def __init__(self, kafka, prefix, partitions=1, functions=("echo",), **settings):
        self.kafka, self.group = kafka, prefix
        self.requests, self.events, self.replies, self.dead = (f"{prefix}.{name}" for name in ("in", "out", "replies", "dead"))
        self.functions_prefix = f"{prefix}.f."
        kafka.create_topic(self.requests, *(self.functions_prefix + f for f in functions), partitions=partitions)
        kafka.create_topic(self.events, self.replies, self.dead)
        self.settings = {"type": "kafka", "name": "main", "brokers": kafka.bootstrap, "group": self.group,
                         "subscribe-topic": self.requests, "publish-topic": self.events, "functions-prefix": self.functions_prefix,
                         "dead-letter-topic": self.dead, **settings}

    def send(self, request, key=None, topic=None, **headers):
        value = request if request is None or isinstance(request, bytes) else json.dumps(request).encode()
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.kafka.produce(topic or self.requests, value, key, headers)

    def call(self, function, params, key=None, **headers):
        """To the function's own topic, to be answered on `replies`."""
        headers.setdefault("reply_topic", self.replies)
        return self.send(params, key, self.functions_prefix + function, **headers)

    def committed(self):
        return sum(offset or 0 for offset in self.kafka.committed(self.group, self.requests).values())
