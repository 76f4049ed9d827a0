# SPDX-License-Identifier: Apache-2.0
"""Where answers may be asked for by MQTT: not where requests come in or Mist itself tells of jobs, not where the broker would end the
connection; and what is refused because a property is no text, or stands twice."""
import pytest

from scenario.test_mqtt import Requester, event, transport, up
from support.mistd import until

OTHER = "01890000-0000-7000-8000-000000000000"


@pytest.fixture
def requester(mosquitto, prefix):
    return Requester(mosquitto, prefix)


def refusals(broker, prefix):
    """A request that cannot be answered on its response topic is refused on publish-topic."""
    return broker.subscribe(f"{prefix}/out")


def jobs(gateway):
    return gateway.get("/v2/api/jobs", params={"limit": 100}).json()


@pytest.fixture
def gateway(c_mist, mosquitto, prefix):
    transports = [transport(mosquitto, prefix, name="one"), transport(mosquitto, f"{prefix}-2", name="two")]
    return up(c_mist(transports=transports))


BAD = ["{0}/functions/echo/jobs", "{0}/functions", "{0}/jobs/" + OTHER + "/cancel", "{0}/jobs/" + OTHER + "/events", "{0}/models/m",
       "{0}/workers", "{0}/status", "{0}/status/x", "{0}/in", "{0}-2/functions/echo/jobs", "{0}-2/in", "$SYS/broker/uptime",
       "$share/mist/{0}/x", "$other"]


def test_no_answer_goes_where_requests_come_in_or_mist_tells_of_jobs(gateway, mosquitto, prefix):
    told = refusals(mosquitto, prefix)
    for topic in BAD:
        mosquitto.pub(f"{prefix}/in", {"functionId": "noop", "externalId": topic.format(prefix)}, response_topic=topic.format(prefix))
    answers = told.wait(len(BAD), lambda m: event(m) == "failed")
    assert {m.json()["externalId"] for m in answers} == {topic.format(prefix) for topic in BAD}
    assert all(m.json()["error"].startswith("response topic: ") for m in answers)
    assert jobs(gateway) == []


def test_other_topics_are_allowed(gateway, mosquitto, prefix):
    for topic in (f"{prefix}/answers/{prefix}/status", f"{prefix}/statuses", f"{prefix}-2/out", f"x/{prefix}/jobs"):
        client = mosquitto.subscribe(topic)
        mosquitto.pub(f"{prefix}/functions/noop/jobs", {}, response_topic=topic)
        client.wait_one(lambda m: event(m) == "finished")
    common = mosquitto.subscribe(f"{prefix}/out")
    mosquitto.pub(f"{prefix}/functions/noop/jobs", {}, response_topic=f"{prefix}/out", user={"externalId": "mine"})
    common.wait_one(lambda m: event(m) == "finished" and m.user.get("externalId") == "mine")


def test_a_cancel_without_a_job_is_not_told_there_either(gateway, mosquitto, prefix):
    cancels = mosquitto.subscribe(f"{prefix}/jobs/+/cancel")
    topic = f"{prefix}/jobs/{OTHER}/cancel"
    mosquitto.pub(topic, b"", response_topic=topic)
    requester = Requester(mosquitto, prefix)
    assert event(requester.call("noop", {})) == "finished"
    assert len(cancels.messages) == 1, "the one that was sent"


def test_an_address_that_was_kept_is_checked_again(c_mist, mosquitto, prefix):
    """The settings have changed since."""
    gateway = up(c_mist(transports=[transport(mosquitto, prefix, name="one")]))
    topic = f"{prefix}-3/functions/noop/jobs"
    client = mosquitto.subscribe(topic)
    mosquitto.pub(f"{prefix}/functions/sleep/jobs", {"ms": 600_000}, response_topic=topic)
    job = until(lambda: jobs(gateway))[0]["jobId"]
    gateway.stop()
    gateway.sections["transports"].append(transport(mosquitto, f"{prefix}-3", name="three"))
    gateway.configure(gateway.rendered())
    gateway.start()
    gateway.cancel(job)
    gateway.wait(job, "cancelled")
    until(lambda: f"the outcome of job {job} is told to nobody" in gateway.stderr())
    assert not client.messages and len(jobs(gateway)) == 1
    gateway.restart()
    gateway.connected()
    assert gateway.stderr().count("is told to nobody") <= 1, "it is not owed any more"


@pytest.mark.parametrize("pairs", [[("priority", "1"), ("priority", "2")], [("externalId", "a"), ("externalId", "a")]],
                         ids=["two values", "one value"])
def test_a_property_that_is_read_stands_once(gateway, requester, pairs):
    told = requester.call("noop", {}, pairs).json()
    assert told["event"] == "failed" and told["error"] == f"the user property {pairs[0][0]}: expected once, it stands twice"


def test_other_properties_are_anybodys(gateway, requester):
    told = requester.call("noop", {}, [("colour", "red"), ("colour", "blue"), ("id", "1"), ("id", "2")])
    assert event(told) == "finished"


def test_a_file_is_not_run_in_place_of_a_function_unless_it_is_allowed(c_mist, mosquitto, prefix, requester):
    body = {"fakeName": "f", "path": "x.py", "className": "x", "context": "example"}
    gateway = up(c_mist(transports=[transport(mosquitto, prefix, name="one")]))
    mark = requester.send(f"{prefix}/in", body)
    told = requester.answers(mark)[0].json()
    assert told["event"] == "failed" and "unless transports.one.devrun is true" in told["error"]
    gateway.stop()
    gateway.sections["transports"][0]["devrun"] = True
    gateway.configure(gateway.rendered())
    up(gateway.start())
    mark = requester.send(f"{prefix}/in", body)
    assert "devrun" not in requester.answers(mark)[0].json()["error"]


def test_what_is_like_an_event_of_mist_is_no_noise(gateway, prefix, requester):
    mark = requester.send(f"{prefix}/in", {"event": "click", "user": 1})
    assert requester.answers(mark)[0].json()["error"].startswith("functionId: must be given")
