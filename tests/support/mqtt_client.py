# SPDX-License-Identifier: Apache-2.0
"""An MQTT client for tests: keeps what arrives, and waits for it. 5.0 unless it is told 3.1.1."""
import json
import socket
import ssl
import threading
from dataclasses import dataclass, field

from paho.mqtt import client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from support.mistd import PATIENCE, until

# Our names of properties, and those of the library.
PROPERTIES = {"payload_format": "PayloadFormatIndicator", "message_expiry": "MessageExpiryInterval", "content_type": "ContentType",
              "response_topic": "ResponseTopic", "correlation_data": "CorrelationData"}
TIMEOUT = 30


class Refused(Exception):
    """The broker did not take the connection."""


@dataclass
class Message:
    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    properties: dict = field(default_factory=dict)  # names as in PROPERTIES; those that did not come are not there
    user: dict = field(default_factory=dict)  # user properties; the last one of a name that came twice

    def json(self):
        return json.loads(self.payload)

    @property
    def text(self):
        return self.payload.decode()


def _without_delay(client, userdata, sock):
    """An acknowledgement and a message behind it must not wait for each other."""
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _packed(packet, properties, user=()):
    packed = Properties(packet)
    for name, value in properties.items():
        if value is not None:
            setattr(packed, PROPERTIES[name], value)
    pairs = list(user.items()) if isinstance(user, dict) else list(user)
    if pairs:
        packed.UserProperty = pairs
    return packed


def _message(m):
    values = {ours: getattr(m.properties, theirs) for ours, theirs in PROPERTIES.items() if hasattr(m.properties, theirs)}
    return Message(m.topic, m.payload, m.qos, m.retain, values, dict(getattr(m.properties, "UserProperty", ())))


class MqttClient:
    """tls: {"ca", "certificate", "key"}, the last two if the client shows one. Once connected it reconnects by itself and
    subscribes anew. session: seconds the broker keeps its subscriptions and messages (3.1.1: for ever if not 0); a session needs
    a name."""

    def __init__(self, host, port, name="", version=5, user=None, password=None, tls=None, session=0, will=None):
        self.version, self.session, self.address = version, session, (host, port)
        protocol, more = (mqtt.MQTTv5, {}) if version == 5 else (mqtt.MQTTv311, {"clean_session": not session})
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, name, protocol=protocol, **more)
        self.client.reconnect_delay_set(0.05, 1)
        if user is not None:
            self.client.username_pw_set(user, password)
        if tls:
            self.client.tls_set(tls["ca"], tls.get("certificate"), tls.get("key"), tls_version=ssl.PROTOCOL_TLS_CLIENT)
        if will:
            self.client.will_set(will.topic, will.payload, will.qos, will.retain)
        self.client.on_connect, self.client.on_message = self._connected, self._arrived
        self.client.on_subscribe, self.client.on_disconnect = self._subscribed, self._disconnected
        self.client.on_socket_open = _without_delay
        self._answer, self._topics, self._acks, self._ended = None, {}, {}, False
        self.connections, self._subscribing = 0, set()
        self._changed, self._messages = threading.Condition(), []

    # Its life

    def connect(self, timeout=TIMEOUT, clean=None):
        """Raises Refused, or OSError when nobody is there. clean: whether a session of before is dropped; one is when none is
        asked for."""
        options = {"keepalive": 60}
        if self.version == 5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = self.session
            drops = not self.session if clean is None else clean
            options |= {"clean_start": mqtt.MQTT_CLEAN_START_FIRST_ONLY if drops else False, "properties": properties}
        self.client.connect(*self.address, **options)
        self.client.loop_start()
        try:
            until(lambda: self._answer is not None, timeout, f"CONNACK of {self.address}")
        except AssertionError:
            self.drop()
            raise
        if self._answer[0].is_failure:
            self.client.loop_stop()
            raise Refused(str(self._answer[0]))
        return self

    @property
    def session_present(self):
        return self._answer[1]

    def disconnect(self):
        """Says goodbye: no will is sent."""
        self._ended = True
        self.client.disconnect()
        self.client.loop_stop()

    def drop(self):
        """Ends the connection without a word, and does not come back."""
        self._ended = True
        sock = self.client.socket()
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it was gone already
        self.client.loop_stop()

    def is_back(self, connections):
        """It has connected since it had made so many connections, and all its subscriptions are there again."""
        return self._ended or (self.connections > connections and self._subscribing <= self._acks.keys())

    # Sending

    def publish_soon(self, topic, payload=b"", qos=1, retain=False, user=(), **properties):
        """Hands it over; `is_published()` of what it returns says whether the broker acknowledged it."""
        if isinstance(payload, (dict, list)):
            payload = json.dumps(payload)
        packed = _packed(PacketTypes.PUBLISH, properties, user) if self.version == 5 else None
        sent = self.client.publish(topic, payload, qos, retain, packed)
        if sent.rc == mqtt.MQTT_ERR_NO_CONN and qos:
            sent.rc = mqtt.MQTT_ERR_SUCCESS  # it is kept, and goes out with the next connection
        return sent

    def publish(self, topic, payload=b"", qos=1, retain=False, user=(), timeout=TIMEOUT, **properties):
        """Returns when the broker has acknowledged it."""
        sent = self.publish_soon(topic, payload, qos, retain, user, **properties)
        sent.wait_for_publish(timeout * PATIENCE)
        assert sent.is_published(), f"a message to {topic} was not acknowledged within {timeout * PATIENCE:g} s"

    # Receiving

    def subscribe(self, *topics, qos=1):
        """Returns when the broker has acknowledged every one."""
        for topic in topics:
            self._topics[topic] = qos
            _, mid = self._ask_for(topic, qos)
            codes = until(lambda: self._acks.get(mid), TIMEOUT, f"the acknowledgement of the subscription to {topic}")
            if codes[0].is_failure:
                raise Refused(f"{topic}: {codes[0]}")
        return self

    @property
    def messages(self):
        """All that arrived, in order."""
        with self._changed:
            return list(self._messages)

    def clear(self):
        with self._changed:
            self._messages.clear()

    def wait(self, count=1, matching=lambda message: True, timeout=TIMEOUT):
        """The first `count` messages that match, once there are so many. matching: a function of a message, or a topic."""
        test = matching if callable(matching) else lambda m: m.topic == matching
        found = []

        def enough():
            found[:] = [m for m in self._messages if test(m)]
            return len(found) >= count

        with self._changed:
            if not self._changed.wait_for(enough, timeout * PATIENCE):
                shown = [(m.topic, m.payload[:200]) for m in self._messages[-10:]]
                raise AssertionError(f"{len(found)} of {count} messages within {timeout * PATIENCE:g} s; the last of all: {shown}")
        return found[:count]

    def wait_one(self, matching=lambda message: True, timeout=TIMEOUT):
        return self.wait(1, matching, timeout)[0]

    def wait_until(self, predicate, timeout=TIMEOUT):
        """Until predicate(all messages) is true; its value."""
        with self._changed:
            value = self._changed.wait_for(lambda: predicate(list(self._messages)), timeout * PATIENCE)
            assert value, f"not within {timeout * PATIENCE:g} s, with {len(self._messages)} messages"
            return value

    # Called in the client's own thread

    def _ask_for(self, topic, qos):
        if self.version == 5:
            return self.client.subscribe(topic, options=SubscribeOptions(qos=qos))
        return self.client.subscribe(topic, qos)

    def _connected(self, client, userdata, flags, reason, properties):
        first, self._answer = self._answer is None, (reason, flags.session_present)
        if reason.is_failure:
            return
        if not first:
            self._subscribing = {self._ask_for(topic, qos)[1] for topic, qos in list(self._topics.items())}
        self.connections += 1

    def _disconnected(self, client, userdata, flags, reason, properties):
        if self._answer is None:
            self._answer = (reason, False)
        if self._ended or self._answer[0].is_failure:
            client.disconnect()  # does not try again

    def _subscribed(self, client, userdata, mid, reasons, properties):
        self._acks[mid] = reasons

    def _arrived(self, client, userdata, m):
        with self._changed:
            self._messages.append(_message(m))
            self._changed.notify_all()
