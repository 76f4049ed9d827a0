# SPDX-License-Identifier: Apache-2.0
"""Kafka over TLS, with passwords and with certificates, through a real broker. What a test itself sends and reads goes through the
broker's plain listener."""
import json
import re

import pytest

from support.mistd import DidNotStart, until

PASSWORD = "geheim, ü"


class Door:
    """One instance's settings. Its user is this test's own; `options` are librdkafka's, None takes one away."""

    def __init__(self, kafka, prefix):
        self.kafka, self.user, self.replies = kafka, prefix, f"{prefix}.replies"
        self.topics = f"{prefix}.f."
        kafka.create_topic(f"{self.topics}echo", self.replies)

    def settings(self, address, options, **more):
        ca = {"ssl.ca.location": str(self.kafka.secured.certificates.ca)}
        options = {name: value for name, value in {**ca, **options}.items() if value is not None}
        return {"type": "kafka", "name": "main", "brokers": address, "group": self.user, "functions-prefix": self.topics,
                "dead-letter-topic": "", "options": options, **more}

    def with_password(self, options=(), **more):
        return self.settings(self.kafka.secured.with_password, {
            "security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-256", "sasl.username": self.user,
            "sasl.password": PASSWORD, **dict(options)}, **more)

    def with_certificate(self, options=()):
        certificates = self.kafka.secured.certificates
        return self.settings(self.kafka.secured.with_certificate, {
            "security.protocol": "SSL", "ssl.certificate.location": str(certificates.client),
            "ssl.key.location": str(certificates.client_key), **dict(options)})

    def set_password(self, password=PASSWORD, mechanism="SCRAM-SHA-256"):
        self.kafka.set_password(self.user, password, mechanism)

    def answers(self):
        """A request by its topic has its answer."""
        self.kafka.produce(f"{self.topics}echo", b'{"text":"safe"}', headers={"reply-topic": self.replies})
        return json.loads(self.kafka.read(self.replies).wait_one().value)["result"] == "safe"


@pytest.fixture
def door(kafka, prefix):
    return Door(kafka, prefix)


def why(gateway):
    return gateway.trouble()


def warnings(gateway):
    return [line for line in gateway.stderr().splitlines() if " WARN " in line or " ERROR " in line]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_job_is_asked_for_and_answered_with_a_password(c_mist, kafka, door, mechanism):
    options = {"sasl.mechanism": mechanism}
    if mechanism == "PLAIN":
        options |= {"sasl.username": kafka.secured.PLAIN_USER, "sasl.password": kafka.secured.PLAIN_PASSWORD}
    else:
        door.set_password(mechanism=mechanism)
    gateway = c_mist(transports=[door.with_password(options)])
    assert door.answers()
    until(lambda: not why(gateway))


def test_a_job_is_asked_for_and_answered_with_a_certificate(c_mist, door):
    gateway = c_mist(transports=[door.with_certificate()])
    assert door.answers()
    until(lambda: not why(gateway))


def test_a_password_comes_from_a_file_and_may_be_mended_there(c_mist, door, tmp_path):
    door.set_password()
    file = tmp_path / "password"
    file.write_text("another\n")
    gateway = c_mist(transports=[door.with_password({"sasl.password": None}, **{"password-file": str(file)})])
    until(lambda: "refuse the connection" in why(gateway))
    gateway.stop()
    file.write_text(f"{PASSWORD}\r\nnot this line\n")
    gateway.start()
    assert door.answers()


def test_a_refused_password_is_told_once_and_good_when_the_broker_takes_it(c_mist, door):
    door.set_password("another")
    gateway = c_mist(transports=[door.with_password()], mist={"log-level": "debug"})
    sentence = ("refuse the connection: SASL authentication error: Authentication failed during authentication "
                "due to invalid credentials with SASL mechanism SCRAM-SHA-256")
    until(lambda: (said := why(gateway)).startswith("transport main: the brokers of") and said.endswith(sentence), what=sentence)
    assert 'mist_transport_up{transport="main"} 0' in gateway.get("/metrics").text
    assert gateway.run("echo", {"text": "as ever"})["payload"] == "as ever"
    for client in ("producer", "consumer"):
        until(lambda: any(f"#{client}-" in line and "identical error" in line for line in gateway.stderr().splitlines()),
              what=f"the {client} has tried again")
    door.set_password()
    until(lambda: not why(gateway))
    assert door.answers()
    assert len(warnings(gateway)) == 1, warnings(gateway)
    assert PASSWORD not in gateway.stderr() and PASSWORD not in gateway.get("/metrics").text


@pytest.mark.parametrize("client,says", [("consumer", "no messages can be taken"), ("producer", "no answers can be given")])
def test_one_client_that_is_refused_alone_is_not_taken_for_a_connection(c_mist, kafka, door, client, says):
    door.set_password()
    other = f"{door.user}-2"
    gateway = c_mist(transports=[door.with_password(**{client: {"sasl.username": other}})])
    until(lambda: f"transport main: {says}: the brokers of" in why(gateway))
    kafka.set_password(other, PASSWORD, "SCRAM-SHA-256")
    until(lambda: not why(gateway))
    assert door.answers()
    assert len(warnings(gateway)) == 1, warnings(gateway)


@pytest.mark.parametrize("listener,wrong,says", [
    ("with_password", {"ssl.ca.location": None}, r"no TLS connection to \S+ can be made: certificate verify failed"),
    ("with_password", {"security.protocol": None, "sasl.mechanism": None}, "incorrect security.protocol configuration"),
    ("with_certificate", {"ssl.certificate.location": None, "ssl.key.location": None},
     r"no TLS connection to \S+ can be made: .* alert (bad certificate|certificate required)"),
])
def test_a_connection_that_is_not_safe_enough_is_not_made(c_mist, door, listener, wrong, says):
    door.set_password()
    secure = getattr(door, listener)
    gateway = c_mist(transports=[secure(wrong)])
    until(lambda: re.search(says, why(gateway)), what=says)
    assert "(after" not in why(gateway) and "routines" not in why(gateway), "one sentence for people"
    gateway.stop()
    assert len(warnings(gateway)) == 1 and PASSWORD not in gateway.stderr(), gateway.stderr()
    gateway.sections["transports"] = [secure()]
    gateway.configure(gateway.rendered())
    gateway.start()
    assert door.answers()


@pytest.mark.parametrize("settings,says", [
    ({"password-file": "/no/such/file"}, "password-file: /no/such/file cannot be read: No such file"),
    ({"password-file": "/dev/null"}, "password-file: /dev/null cannot be read: it is not a file"),
    ({"password-file": "/etc"}, "password-file: /etc cannot be read: Is a directory"),
    *[({"password-file": "/etc/passwd", of: {"sasl.password": PASSWORD}}, f"password-file: not beside {of}.sasl.password")
      for of in ("options", "consumer", "producer")],
])
def test_a_password_that_cannot_be_stops_the_start(c_mist, settings, says):
    with pytest.raises(DidNotStart) as e:
        c_mist(transports=[{"type": "kafka", **settings}])
    assert says in str(e.value) and "transports" in str(e.value) and PASSWORD not in str(e.value)
