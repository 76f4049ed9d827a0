# SPDX-License-Identifier: Apache-2.0
"""Messages that the broker sends again: what this process did is not done twice, and nothing else is left out."""
import re
import threading

import pytest

from scenario.test_mqtt import Requester, event, transport, up
from support.mistd import PATIENCE, until
from support.old_broker import Meddler, Relay

# Its description waits for a file, and with it the request that asks for it.
HELD = """
import os
import time

import mist

open({begun!r}, "w").close()
while not os.path.exists({flag!r}):
    time.sleep(0.02)


@mist.function
def held():
    return 1
"""


class House:
    """A gateway with one receiving connection, and the function `held`."""

    def __init__(self, make_gateway, broker, prefix, tmp_path, **settings):
        self.begun, self.flag, path = (tmp_path / name for name in ("begun", "flag", "held.py"))
        path.write_text(HELD.format(begun=str(self.begun), flag=str(self.flag)))
        self.gateway = up(make_gateway(transports=[transport(broker, prefix, receivers=1, **settings)],
                                       functions={"held": {"path": str(path), "class-name": "held", "context": "plain"}}))
        self.broker, self.prefix, self.topic = broker, prefix, f"{prefix}/mine"
        self.client = broker.subscribe(self.topic)

    def ask(self, function, arguments, correlation_data):
        self.client.publish(f"{self.prefix}/functions/{function}/jobs", arguments, response_topic=self.topic,
                            correlation_data=correlation_data)

    def answers(self, correlation_data, count):
        return self.client.wait(count, lambda m: m.properties.get("correlation_data") == correlation_data, 60)

    def let_go(self):
        self.flag.touch()

    def jobs(self, function):
        return [job for job in self.gateway.get("/v2/api/jobs").json() if job["function"] == function]


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_message_that_comes_again_after_a_slow_attempt_makes_no_second_job(plain_mist, mosquitto_factory, prefix, tmp_path, version):
    """While the gateway waits nothing is sent to the broker, which ends the connection. Three requests are equal but for their
    packet ids."""
    broker = mosquitto_factory()
    house = House(plain_mist, broker, prefix, tmp_path, version=version, **{"keep-alive": "2s", "client-id": prefix})
    common = broker.subscribe(f"{prefix}/jobs/+/events")
    ends = re.compile(rf"Client {prefix}-0 has exceeded timeout")  # that takes requests
    before = len(ends.findall(broker.log()))
    for _ in range(3):
        house.ask("held", {}, b"same")
    until(lambda: len(ends.findall(broker.log())) > before, 60, "the broker to end the connection")
    house.let_go()
    told = common if version == "3.1.1" else house.client
    told.wait(3, lambda m: event(m) == "finished", 60)
    common.publish(f"{prefix}/functions/typed/jobs", {"i": 1})
    common.wait_one(lambda m: isinstance(m.json().get("result"), dict), 60)
    assert len(house.jobs("held")) == 3, "what came again was before that one"
    assert "a message that was done comes again" in house.gateway.stderr()


def test_a_message_that_an_earlier_process_began_with_is_taken(plain_mist, mosquitto, prefix, tmp_path):
    house = House(plain_mist, mosquitto, prefix, tmp_path)
    house.ask("held", {}, b"1")
    until(house.begun.exists, what="the request to be looked at")
    house.gateway.kill9()
    house.let_go()
    house.gateway.start()
    assert event(house.answers(b"1", 1)[0]) == "finished"


class Gate(Relay):
    """Keeps back what a client publishes to one topic."""

    def __init__(self, broker, topic):
        self.topic, self.is_shut, self.has_come = topic.encode(), True, threading.Event()
        super().__init__(broker)

    def _pump(self, source, target):
        is_client = source not in [broker for _, broker in self.pairs]
        try:
            while data := source.recv(65536):
                if is_client and self.is_shut and self.topic in data:
                    self.has_come.set()
                    continue
                target.sendall(data)
        except OSError:
            pass
        self.end(source, target)


def test_a_refused_request_is_acknowledged_when_the_broker_has_the_refusal(c_mist, mosquitto, prefix):
    """Until then it is the broker that has it, and sends it again."""
    requester = Requester(mosquitto, prefix)
    gate = Gate(mosquitto, requester.topic)
    gateway = up(c_mist(transports=[transport(gate, prefix)]))
    mark = requester.ask("no-such-function", {})
    assert gate.has_come.wait(60 * PATIENCE), "the refusal is on its way"
    gateway.kill9()
    gate.is_shut = False
    gateway.start()
    assert "there is no function no-such-function" in requester.answers(mark)[0].json()["error"]
    gate.close()


@pytest.mark.parametrize("settings", [{"share": ""}, {"version": "3.1.1"}], ids=["5", "3.1.1"])
def test_what_the_broker_has_kept_for_long_is_not_run(c_mist, mosquitto, prefix, settings):
    """A retained request comes at every connect to whoever does not share."""
    requester = Requester(mosquitto, prefix)
    topic = f"{prefix}/functions/noop/jobs"
    requester.client.publish(topic, {}, retain=True)
    gateway = up(c_mist(transports=[transport(mosquitto, prefix, **settings)]))
    told = mosquitto.subscribe(f"{prefix}/jobs/+/events")
    for n in (1, 2):
        requester.ask("noop", {})
        told.wait(n, lambda m: event(m) == "finished")
        gateway.stop()
        up(gateway.start())
    requester.ask("noop", {})  # what was kept has come before it
    told.wait(3, lambda m: event(m) == "finished")
    assert gateway.get("/v2/api/jobs?paginate=true").json()["total"] == 3
    requester.client.publish(topic, b"", retain=True)


# Gateways that share the requests


def test_what_waits_for_a_gateway_that_is_gone_is_taken_over(c_mist, mosquitto, prefix):
    """The broker gives it a share of the requests until another one takes its sessions."""
    settings = transport(mosquitto, prefix, **{"take-over": "1s", "receivers": 2})
    gone, stays = (up(c_mist(transports=[settings])) for _ in range(2))
    requester = Requester(mosquitto, prefix)
    gone.kill9()
    marks = [requester.ask("noop", {}) for _ in range(60)]
    for mark in marks:
        assert event(requester.answers(mark)[0]) == "finished"
    assert "what waits in its sessions is taken over" in stays.stderr()
    until(lambda: stays.stderr().count("nothing waits in session") >= 2)
    gone.start()
    up(gone)
    for mark in [requester.ask("noop", {}) for _ in range(20)]:
        assert event(requester.answers(mark)[0]) == "finished"
    assert len(requester.client.messages) == 80, "each is run once"


@pytest.mark.parametrize("hears", [True, False], ids=["heard", "unheard"])
def test_two_that_stop_at_once_do_not_leave_the_requests_to_each_other(c_mist, mosquitto, prefix, hears):
    """One of them keeps its share, or both do, where neither hears that the other stops: what comes while nobody is there waits."""
    between = Meddler(mosquitto, change=lambda first, body: b"" if first & 0xF0 == 0x30 and not hears and b'"offline"' in body else None)
    both = [up(c_mist(transports=[transport(between, prefix, receivers=2, **{"take-over": "Inf"})])) for _ in range(2)]
    requester = Requester(mosquitto, prefix)
    for mark in [requester.ask("noop", {}) for _ in range(8)]:
        assert event(requester.answers(mark)[0]) == "finished"
    ends = [threading.Thread(target=gateway.stop) for gateway in both]
    for end in ends:
        end.start()
    for end in ends:
        end.join()
    marks = [requester.ask("noop", {}) for _ in range(20)]
    for gateway in both:
        gateway.start()
    for mark in marks:
        assert event(requester.answers(mark)[0]) == "finished"
    between.close()


def test_a_gateway_that_stops_leaves_the_requests_to_the_other(c_mist, mosquitto, prefix):
    settings = transport(mosquitto, prefix, **{"take-over": "Inf"})
    gone, stays = (up(c_mist(transports=[settings])) for _ in range(2))
    requester = Requester(mosquitto, prefix)
    assert event(requester.call("noop", {})) == "finished"
    gone.stop()
    for mark in [requester.ask("noop", {}) for _ in range(40)]:
        assert event(requester.answers(mark)[0]) == "finished"
    until(lambda: "is away; requests may wait in its sessions" in stays.stderr(), what="a word about what may wait")
    gone.start()


def test_what_a_request_said_without_effect_is_named_after_a_restart_too(plain_mist, mosquitto, prefix, tmp_path):
    """Arguments that the function does not have, short ones and others that are long, beside members; of a job that runs when the
    gateway is killed, and of one that waits."""
    one = {"plain": {"runtime": "plain", "worker-mode": "shared", "max-jobs": 1}}
    gateway = up(plain_mist(transports=[transport(mosquitto, prefix)], mist={"unknown-arguments": "ignore"}, contexts=one))
    requester = Requester(mosquitto, prefix)
    go = tmp_path / "go"
    marks = [requester.ask("wait_for", {"path": str(go), "odd": "x" * n}) for n in (1, 100_000, 100_000, 1)]
    until(lambda: len(gateway.get("/v2/api/jobs?status=started").json()) == 1)
    until(lambda: len(gateway.get("/v2/api/jobs?status=queued").json()) == len(marks) - 1)
    gateway.kill9()
    gateway.start()
    go.touch()
    for mark in marks:
        [end] = requester.answers(mark)
        assert event(end) == "finished" and end.user["mist-ignored"] == "odd"
