# SPDX-License-Identifier: Apache-2.0
"""What a broker says when it refuses something: the reason is told in words, with what can be done about it, and nobody waits for
what is refused to another. The broker is a real one, with somebody between who changes what it says."""
import datetime
import re
import time

import pytest

from scenario.test_mqtt import Requester, event, transport, up
from support.mistd import until
from support.old_broker import Meddler, connack, disconnect, packet, text_property

CONNACK, PUBLISH, PUBACK, SUBACK = 0x20, 0x30, 0x40, 0x90
REASON_STRING, MAXIMUM_QOS, ASSIGNED_ID, SERVER_REFERENCE = 0x1F, 0x24, 0x12, 0x1C
SESSION_EXPIRY, RECEIVE_MAXIMUM = 0x11, 0x21


@pytest.fixture
def meddler(mosquitto):
    made = []

    def make(**what):
        made.append(Meddler(mosquitto, **what))
        return made[-1]

    yield make
    for one in made:
        one.close()


def errors(gateway, kind):
    return int(re.search(rf'^mist_transport_errors_total\{{transport="mqtt",kind="{kind}"\}} (\d+)$', gateway.get("/metrics").text, re.M)[1])


def says(gateway, *words):
    until(lambda: all(one in gateway.trouble() for one in words), what=" and ".join(words))


REFUSED = {"rights": (0x87, "Not authorized (135); its user needs the right", "authorization"),
           "busy": (0x89, "Server busy (137); it is tried again", "connection"),
           "moved": (0x9D, "Server moved (157); set url to the server", "connection"),
           "unknown": (0xF0, "a reason that is not known (240)", "protocol")}


@pytest.mark.parametrize("code, words, kind", REFUSED.values(), ids=REFUSED)
def test_a_refused_connection_is_told_with_the_remedy(c_mist, meddler, prefix, code, words, kind):
    broker = meddler(change=lambda first, body: connack(code) if first == CONNACK else None)
    gateway = c_mist(transports=[transport(broker, prefix)])
    says(gateway, "refuses the connection: ", words)
    until(lambda: errors(gateway, kind) >= 1)
    assert gateway.run("noop")["success"]


LACKS = {"qos": (bytes([MAXIMUM_QOS, 0]) + text_property(REASON_STRING, "no QoS here"),
                 ("it has to allow QoS 1", 'the broker says "no QoS here"')),
         "id": (text_property(ASSIGNED_ID, "another"), ("it has to leave them theirs",)),
         "wildcards": (bytes([0x28, 0]), ("Wildcard subscriptions not supported (162)",)),
         "shares": (bytes([0x2A, 0]), ("set share to \"\" if there is one gateway only",))}


@pytest.mark.parametrize("properties, words", LACKS.values(), ids=LACKS)
def test_what_the_broker_lacks_is_told(c_mist, meddler, prefix, properties, words):
    broker = meddler(change=lambda first, body: connack(0, properties) if first == CONNACK else None)
    says(c_mist(transports=[transport(broker, prefix)]), *words)


def test_sessions_that_the_broker_keeps_for_less_long_are_told_once(c_mist, meddler, prefix):
    shorter = bytes([SESSION_EXPIRY]) + (3599).to_bytes(4, "big")
    broker = meddler(change=lambda first, body: connack(0, shorter) if first == CONNACK else None)
    gateway = up(c_mist(transports=[transport(broker, prefix, **{"session-expiry": "1h"})]))
    words = "the broker keeps sessions for 3599 s only, less than session-expiry: requests that come while no gateway is there longer"
    until(lambda: words in gateway.stderr())
    assert gateway.stderr().count("the broker keeps sessions for") == 1, "not for each of its connections"


@pytest.mark.parametrize("seconds", [3600, 3601])
def test_sessions_that_the_broker_keeps_for_long_enough_are_not_told(c_mist, mosquitto, meddler, prefix, seconds):
    enough = bytes([SESSION_EXPIRY]) + seconds.to_bytes(4, "big")
    broker = meddler(change=lambda first, body: connack(0, enough) if first == CONNACK else None)
    gateway = up(c_mist(transports=[transport(broker, prefix, **{"session-expiry": "1h"})]))
    assert event(Requester(mosquitto, prefix).call("noop", {})) == "finished"
    assert "the broker keeps sessions for" not in gateway.stderr()


def test_no_more_is_on_its_way_than_the_broker_takes_at_once(c_mist, mosquitto, meddler, prefix):
    most, many, on_its_way, counts = 2, 20, set(), []
    window = bytes([RECEIVE_MAXIMUM]) + most.to_bytes(2, "big")
    topic = f"{prefix}/answers".encode()

    def answer(first, body):
        at = 2 + int.from_bytes(body[:2], "big")
        if first & 0xF0 == PUBLISH and body[2:at] == topic:
            on_its_way.add(body[at:at + 2])
            counts.append(len(on_its_way))

    def change(first, body):
        if first == PUBACK and body[:2] in on_its_way:
            time.sleep(0.02)  # more could come in that time
            on_its_way.discard(body[:2])
        if first != CONNACK:
            return None
        on_its_way.clear()  # of a connection that was lost nothing is acknowledged any more
        return connack(0, window)

    settings = {"publish-topic": "", "events": "none"}
    up(c_mist(transports=[transport(meddler(answer=answer, change=change), prefix, **settings)]))
    answers = mosquitto.subscribe(topic.decode())
    for n in range(many):
        mosquitto.pub(f"{prefix}/functions/noop/jobs", {}, response_topic=topic.decode(), correlation_data=str(n).encode())
    answers.wait(many)
    assert max(counts) <= most and len(counts) >= many, counts


SUBSCRIPTIONS = {"rights": (0x87, "Not authorized (135)", "5"), "filter": (0x8F, "check prefix, subscribe-topic and share", "5"),
                 "qos": (0, "it takes QoS 0 only, and would lose requests", "5"),
                 "old qos": (0, "it takes QoS 0 only, and would lose requests", "3.1.1"),
                 "old": (0x80, "Unspecified error (128)", "3.1.1")}


@pytest.mark.parametrize("code, words, version", SUBSCRIPTIONS.values(), ids=SUBSCRIPTIONS)
def test_a_refused_subscription_is_told_with_its_filter(c_mist, meddler, prefix, code, words, version):
    broker = meddler(change=lambda first, body: packet(SUBACK, body[:-1] + bytes([code])) if first == SUBACK else None)
    says(c_mist(transports=[transport(broker, prefix, version=version)]), f"the broker refused a subscription to {prefix}/", words)


def test_why_the_broker_ends_a_connection_is_told_and_it_is_left_alone_for_a_while(c_mist, meddler, prefix):
    broker = meddler()
    gateway = up(c_mist(transports=[transport(broker, prefix)]))
    words = text_property(REASON_STRING, "too much") + text_property(SERVER_REFERENCE, "other:1883")
    broker.drop_all(disconnect(0x98, words))
    says(gateway, 'Administrative action (152), the broker says "too much", it names the server "other:1883"; whoever administers')
    until(lambda: errors(gateway, "connection") >= 3)
    up(gateway)


@pytest.mark.parametrize("code", [0x80, 0x97], ids=["unspecified", "quota"])
def test_an_outcome_that_is_refused_for_now_holds_up_no_other_and_goes_again(c_mist, mosquitto, meddler, prefix, code):
    refused, is_scarce = [], True

    def answer(first, body):
        if not is_scarce or first & 0xF0 != PUBLISH or b"/scarce/" not in body[:2 + int.from_bytes(body[:2], "big")]:
            return None
        refused.append(time.monotonic())
        at = 2 + int.from_bytes(body[:2], "big")
        return packet(0x40, body[at:at + 2] + bytes([code]))

    gateway = up(c_mist(transports=[transport(meddler(answer=answer), prefix, **{"publish-topic": "", "events": "none"})]))
    other, scarce = Requester(mosquitto, prefix), mosquitto.subscribe(f"{prefix}/scarce/#")
    for n in range(2):  # requests that come by several connections at once have no order
        mosquitto.pub(f"{prefix}/functions/noop/jobs", {}, response_topic=f"{prefix}/scarce/1", correlation_data=str(n).encode())
        until(lambda: refused, what="the first refusal")
    assert event(other.call("noop", {})) == "finished", "what is refused holds up nobody"
    until(lambda: len(refused) >= 3, what="the third refusal")
    is_scarce = False
    found = scarce.wait(2)
    assert [m.properties["correlation_data"] for m in found] == [b"0", b"1"], "in their order"
    assert refused[2] - refused[0] > 0.9 and time.monotonic() - refused[-1] > 1.8, "at growing pauses"
    until(lambda: errors(gateway, "delivery") + errors(gateway, "authorization") == len(refused))
    assert "is given up" not in gateway.stderr()


def test_an_outcome_that_is_refused_for_good_is_given_up_in_words(c_mist, mosquitto, meddler, prefix):
    def answer(first, body):
        at = 2 + int.from_bytes(body[:2], "big")
        return packet(0x40, body[at:at + 2] + b"\x90") if first & 0xF0 == PUBLISH and b"/bad/" in body[:at] else None

    gateway = up(c_mist(transports=[transport(meddler(answer=answer), prefix)]))
    mosquitto.pub(f"{prefix}/functions/noop/jobs", {}, response_topic=f"{prefix}/bad/1")
    until(lambda: "is given up: the broker refuses it: Topic name invalid (144); check prefix" in gateway.stderr())
    assert event(Requester(mosquitto, prefix).call("noop", {})) == "finished"


def test_two_gateways_with_one_client_id_back_off_and_say_so(c_mist, mosquitto, prefix):
    """Each ends the connections of the other. This broker does not say why."""
    both = [c_mist(transports=[transport(mosquitto, prefix, receivers=1, **{"client-id": f"{prefix}-same"})]) for _ in range(2)]

    def ups():
        """When the connection of requests was made."""
        found = re.findall(rf"^(\S+) INFO \S+ \S+ connection {prefix}-same-0 to \S+ is up", both[0].stderr(), re.M)
        return [datetime.datetime.fromisoformat(at) for at in found]

    for gateway in both:
        until(lambda: "it may be that another client has the same id: each gateway needs a client-id of its own" in gateway.stderr())
    until(lambda: len(ups()) > 3, what="some more")
    at = ups()
    assert (at[3] - at[2]).total_seconds() > 2, at
