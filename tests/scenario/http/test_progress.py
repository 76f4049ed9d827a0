# SPDX-License-Identifier: Apache-2.0
"""How far jobs say that they are: as events for who asks for them, and where a job is shown."""
import json
import time

import pytest

from support.doors import three_doors
from support.mistd import until
from support.subscribers import Stream, WebSocket, metric

STEPS = """
import json, time
import mist

@mist.function
def steps(ctx, path: str):
    '''Says what the file says, as it grows, until it says null.'''
    said = 0
    while True:
        with open(path) as f:
            lines = [json.loads(line) for line in f.read().split("\\n")[:-1]]
        for line in lines[said:]:
            if line is None:
                return said
            ctx.progress(*line)
            said += 1
        time.sleep(0.01)
"""


class Walker:
    """A job that is as far as it is told to be."""

    def __init__(self, mist, path):
        self.mist, self.file = mist, path.open("a", buffering=1)
        self.id = mist.submit("steps", {"path": str(path)})
        mist.wait(self.id, "started")

    def say(self, *lines):
        self.file.write("".join(json.dumps(line) + "\n" for line in lines))

    def shown(self):
        return self.mist.job(self.id).get("progress")

    def end(self):
        self.say(None)
        return self.mist.wait(self.id)


@pytest.fixture
def walk(plain_mist, tmp_path):
    (tmp_path / "steps.py").write_text(STEPS)

    def start(**sections):
        mist = plain_mist(functions={"steps": {"path": str(tmp_path / "steps.py"), "class-name": "steps", "context": "plain"}}, **sections)
        return Walker(mist, tmp_path / "lines")

    return start


def of(events):
    return [(e.get("value"), e.get("note")) for e in events if e["event"] == "progress"]


def to_the(subscriber, kind, **members):
    """The events up to the one of this kind that has these members."""
    events = [subscriber.event()]
    while not {"event": kind, **members}.items() <= events[-1].items():
        events.append(subscriber.event())
    return events


def test_a_value_looks_the_same_while_the_job_runs_and_after(walk):
    walker = walk()
    walker.say([0.2])
    until(lambda: walker.shown(), what="the progress")
    path = f"/v2/api/jobs/{walker.id}"
    assert '"value":0.2}' in walker.mist.get(path).text
    walker.end()
    assert '"value":0.2}' in walker.mist.get(path).text


def test_progress_is_told_to_who_asks_for_it_and_shown_with_the_job(walk):
    walker = walk()
    mist, path = walker.mist, f"/v2/api/jobs/{walker.id}/events"
    assert walker.shown() is None
    with Stream(mist, f"{path}?withProgress=true") as stream, WebSocket(mist, "/v2/api/ws/all?withProgress=yes") as ws, \
            Stream(mist, "/v2/api/events?withProgress=true") as everything, Stream(mist, path) as quiet, WebSocket(mist, "/v2/api/ws/all") as silent:
        until(lambda: metric(mist, "mist_subscribers") == 5)
        walker.say([0.25, "a \"quarter\"\n"])
        shown = until(walker.shown)
        assert shown == {"time": shown["time"], "value": 0.25, "note": 'a "quarter"\n'}
        with Stream(mist, f"{path}?withProgress=true") as late:
            until(lambda: late.event()["event"] == "progress", what="how far it is, to who comes late")
        walker.say([None, "on its way"])
        seen = to_the(stream, "progress", note="on its way")  # what was not told yet is lost when more is said
        walker.say([1])
        job = walker.end()
        assert job["progress"] == {"time": job["progress"]["time"], "value": 1}
        for subscriber in stream, ws, everything:
            events = (seen if subscriber is stream else []) + to_the(subscriber, "finished")
            assert of(events) == [(0.25, 'a "quarter"\n'), (None, "on its way"), (1, None)]
            assert events[-1]["event"] == "finished" and events[-2]["event"] == "progress"
            first = next(e for e in events if e["event"] == "progress")
            assert first == {"id": walker.id, "time": shown["time"], "value": 0.25, "note": 'a "quarter"\n', "event": "progress"}
        assert not of(to_the(quiet, "finished")) and not of(to_the(silent, "finished"))
        assert stream.id == "7-0"
    [listed] = mist.get("/v2/api/jobs").json()
    assert listed["progress"] == job["progress"]
    mist.restart()
    assert mist.job(walker.id)["progress"] == job["progress"]
    assert "quarter" not in mist.logs(walker.id), "it is no line of the log"


def test_a_job_that_says_much_is_told_of_now_and_then(walk):
    walker = walk(limits={"progress-interval": "500ms"})
    with Stream(walker.mist, f"/v2/api/jobs/{walker.id}/events?withProgress=true") as stream:
        began = time.monotonic()
        walker.say(*([i / 3000, f"{i} of them"] for i in range(3000)))
        walker.say([1, "x" * 5000])
        walker.end()
        most = (time.monotonic() - began) / 0.5 + 2  # the first at once, the last at the end
        told = of(to_the(stream, "finished"))
    assert 1 <= len(told) <= most and told[-1][0] == 1 and told == sorted(told)
    assert 1000 < len(told[-1][1]) <= 4096


def test_how_far_a_job_is_is_known_again_after_a_restart(walk):
    walker = walk()
    walker.say([0.5, "half"])
    before = until(walker.shown)
    walker.mist.kill9()
    walker.mist.start()
    shown = until(walker.shown)
    assert (shown["value"], shown["note"]) == (0.5, "half") and shown["time"] >= before["time"]
    assert walker.end()["progress"] == shown


def test_requests_that_want_all_events_get_progress_over_brokers(plain_mist, mosquitto, kafka, prefix):
    gateway, clients = three_doors(plain_mist, mosquitto, kafka, prefix, ("chatty",))
    expected = {"value": 0.5, "note": "half way", "event": "progress"}
    mqtt, records = clients["mqtt"], clients["kafka"]
    job = mqtt.submit("chatty", {})
    mqtt.client.wait_one(lambda m: m.topic == mqtt.topic and m.user["event"] == "finished")
    told = [m for m in mqtt.client.messages if m.topic == mqtt.topic and m.user["event"] == "progress"]
    assert [{**expected, "id": job, "time": m.json()["time"]} for m in told] == [m.json() for m in told] and len(told) == 1
    assert told[0].user["event-id"] == f"{job}:progress:{told[0].json()['time']}"
    job = records.submit("chatty", {})
    records.replies.wait_one(lambda r: r.headers["event"] == "finished")
    [told] = [json.loads(r.value) for r in records.replies.records if r.headers["event"] == "progress"]
    assert told == {**expected, "id": job, "time": told["time"]}
    event = {"specversion": "1.0", "id": "1", "source": "/tests", "type": "t", "data": {}}
    mqtt.client.publish(f"{prefix}/functions/chatty/jobs", event, response_topic=mqtt.topic, user={"events": "all"},
                        content_type="application/cloudevents+json")
    cloud = mqtt.client.wait_one(lambda m: m.json().get("type") == "io.mist.job.progress").json()
    assert cloud["data"] == {**expected, "id": cloud["subject"], "time": cloud["data"]["time"]}
    for seen in clients["mqtt"].events(cloud["subject"]), clients["kafka"].events(cloud["subject"]):
        assert "started" in seen and "progress" not in seen, "nobody asked for that of all jobs"


def test_transports_tell_progress_of_all_jobs_where_a_setting_says_so(plain_mist, mosquitto, kafka, prefix):
    kafka.create_topic(f"{prefix}.out")
    all_events, topic = kafka.read(f"{prefix}.out"), mosquitto.subscribe(f"{prefix}/jobs/+/events", f"{prefix}/out")
    gateway = plain_mist(transports=[
        {"type": "mqtt", "url": mosquitto.url, "prefix": prefix, "publish-topic": f"{prefix}/out", "with-progress": True},
        {"type": "kafka", "brokers": kafka.bootstrap, "group": prefix, "publish-topic": f"{prefix}.out", "with-progress": True,
         "dead-letter-topic": ""}])
    gateway.connected().run("chatty")
    all_events.wait_one(lambda r: r.headers["event"] == "progress")
    for name in f"{prefix}/out", "/events":
        assert topic.wait_one(lambda m: m.topic.endswith(name) and m.json()["event"] == "progress").json()["value"] == 0.5
