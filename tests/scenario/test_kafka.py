# SPDX-License-Identifier: Apache-2.0
"""Requests and answers by Kafka, through a real broker."""
import json
import time

import confluent_kafka
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from support.kafka import Door
from support.mistd import PATIENCE, DidNotStart, until
from support.subscribers import metric

LIFE = ["initialized", "queued", "worker-assigned", "started", "finished"]


@pytest.fixture
def door(kafka, prefix):
    return Door(kafka, prefix)


def body(record):
    return json.loads(record.value)


def event_of(name):
    return lambda record: body(record)["event"] == name


def of_job(job_id):
    return lambda record: record.headers["job-id"] == job_id


def test_mists_json_goes_both_ways(c_mist, kafka, door):
    gateway = c_mist(transports=[door.settings])
    events = kafka.read(door.events)
    door.send({"functionId": "echo", "parameters": {"text": "hi"}, "externalId": "mine", "runSettings": {"mode": "old"}}, key=b"k")
    end = events.wait_one(event_of("finished"))
    job_id = end.headers["job-id"]
    told = [r for r in events.records if r.headers["job-id"] == job_id]
    assert [body(r)["event"] for r in told] == LIFE and {r.key for r in told} == {b"k"}
    assert body(told[0])["externalId"] == "mine" and body(end)["result"] == "hi" and body(end)["id"] == job_id
    assert end.headers["mist-ignored"] == "runSettings.mode"
    assert end.headers["event"] == "finished" and end.headers["content-type"] == "application/json"
    assert end.headers["externalId"] == "mine" and end.headers["event-id"] == f"{job_id}:finished"
    assert gateway.job(job_id)["source"] == "Async Kafka"


def test_all_that_is_told_of_a_job_has_one_key_the_requests_or_the_jobs(c_mist, kafka, door):
    gateway = c_mist(transports=[door.settings])
    events = kafka.read(door.events)
    by_http = gateway.submit("log", {"lines": 3})
    request = {"functionId": "log", "parameters": {"lines": 3}}
    for i, key in enumerate((b"\xff\x00key", b"", None)):
        door.send({**request, "externalId": f"by {key}"}, key=key)
        events.wait(i + 1, lambda r: event_of("finished")(r) and not of_job(by_http)(r))
    events.wait(4, event_of("finished"))
    keys = {}
    for record in events.records:
        keys.setdefault(record.headers["job-id"], set()).add(record.key)
        if record.headers["event"] == "finished":
            name = record.headers.get("externalId")
            expected = {"by b'\\xff\\x00key'": b"\xff\x00key", "by b''": b""}.get(name, record.headers["job-id"].encode())
            assert keys[record.headers["job-id"]] == {expected}, name
    assert {r.headers["event"] for r in events.records} == {*LIFE, "logs"}


def test_everything_of_all_jobs_goes_to_the_publish_topic_and_nothing_twice(c_mist, kafka, door):
    gateway = c_mist(transports=[door.settings])
    events = kafka.read(door.events)
    job_id = gateway.submit("log", {"lines": 3})
    door.send({"functionId": "echo", "parameters": {"text": "hi"}})
    door.call("echo", {"text": "there"})
    events.wait(3, event_of("finished"))
    events.wait_one(lambda r: r.headers["event"] == "logs" and "line 3 of 3" in r.value.decode() and of_job(job_id)(r))
    ids = [r.headers["event-id"] for r in events.records]
    assert len(ids) == len(set(ids))


def test_a_functions_own_topic_answers_where_the_request_says(c_mist, kafka, door):
    c_mist(transports=[door.settings])
    replies = kafka.read(door.replies)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    door.call("echo", {"text": "hello"}, key=b"\xff\x00key", correlation_id=b"\xfe\x00id", externalId="x", traceparent=trace)
    answer = replies.wait_one()
    assert body(answer)["result"] == "hello" and answer.key == b"\xff\x00key"
    assert answer.headers["correlation-id"] == b"\xfe\x00id".decode(errors="replace")
    assert answer.headers["traceparent"] == trace and answer.headers["externalId"] == "x"
    door.call("echo", {"text": "no key"})
    second = replies.wait(2)[1]
    assert second.key == second.headers["job-id"].encode()
    assert len(replies.records) == 2, "the outcome only"


def test_all_events_are_told_where_a_request_wants_them(c_mist, kafka, door):
    c_mist(transports=[door.settings])
    replies = kafka.read(door.replies)
    door.call("echo", {"text": "all"}, key=b"k", events="all")
    replies.wait_one(event_of("finished"))
    assert [body(r)["event"] for r in replies.records] == LIFE and {r.key for r in replies.records} == {b"k"}


@pytest.mark.parametrize("function,params", [("echo", {"text": 5}), ("echo", {}), ("nobody", {"text": "x"})])
def test_a_refusal_is_told_with_the_sentence_of_http(c_mist, kafka, door, function, params):
    gateway = c_mist(transports=[door.settings])
    replies, dead = kafka.read(door.replies), kafka.read(door.dead)
    sentence = gateway.post(f"/v2/api/functions/{function}/jobs", json=params).json()["detail"]
    request = {"functionId": function, "parameters": params, "externalId": "mine"}
    partition, offset = door.send(request, key=b"k", reply_topic=door.replies, correlation_id="c1", other="kept")
    answer, letter = replies.wait_one(), dead.wait_one()
    assert body(answer)["error"] == sentence and body(answer)["event"] == "failed" and body(answer)["externalId"] == "mine"
    assert answer.key == b"k" and answer.headers["correlation-id"] == "c1" and answer.headers["externalId"] == "mine"
    assert letter.key == b"k" and body(letter) == request and letter.headers["other"] == "kept"
    assert letter.headers["reason"] == sentence and letter.headers["source-topic"] == door.requests
    assert (letter.headers["source-partition"], letter.headers["source-offset"]) == (str(partition), str(offset))
    until(lambda: door.committed() == offset + 1)


def test_a_refusal_without_a_topic_of_its_own_goes_to_the_publish_topic(c_mist, kafka, door):
    c_mist(transports=[door.settings])
    events = kafka.read(door.events)
    door.send({"functionId": "nobody", "externalId": "mine"})
    assert body(events.wait_one(event_of("failed")))["externalId"] == "mine"


POISON = {"empty": (b"", "no JSON"), "null": (None, "no JSON"), "not UTF-8": (b'{"functionId":"\xff"}', "no JSON"),
          "not JSON": (b"{", "no JSON"), "no object": (b"[1]", "expected a JSON object, got an array"),
          "no form": (b'{"what":1}', "functionId: must be given"), "two values": (b"{}{}", "no JSON"),
          "deep": (b'{"functionId":"echo","parameters":' + b'{"a":' * 200 + b"1" + b"}" * 201, "no JSON"),
          "path": (b'{"functionId":"../x"}', "the name of the function")}


def test_a_poison_message_is_put_away_once_and_blocks_nothing(c_mist, kafka, door):
    c_mist(transports=[door.settings])
    dead, replies = kafka.read(door.dead), kafka.read(door.replies)
    for value, _ in POISON.values():
        door.send(value)
        door.send({"functionId": "echo", "parameters": {"text": "fine"}, "unknown": {"field": 1}}, reply_topic=door.replies)
    replies.wait(len(POISON), event_of("finished"))
    letters = dead.wait(len(POISON))
    for letter, (value, words) in zip(letters, POISON.values()):
        assert letter.value == value and letter.key is None and words in letter.headers["reason"], letter
    until(lambda: door.committed() == 2 * len(POISON))
    assert len(dead.records) == len(POISON)


@pytest.mark.parametrize("name,value,words", [
    ("externalId", None, "the header externalId: expected a text, got null"),
    ("externalId", b"\xff", "the header externalId: expected UTF-8"),
    ("idempotency-key", b"a\x00b", "the header idempotency-key: expected UTF-8"),
    ("idempotency-key", b"x" * 300, "idempotency-key: expected 1 to 255 bytes"),
    ("reply-topic", b"no/topic", "the header reply-topic: expected the name of a topic"),
    ("priority", b"high", "priority: expected an integer"),
    ("startTimeout", b"soon", "startTimeout: expected a duration"),
    ("events", b"some", "events: expected"),
    ("ce_specversion", b"9", "specversion: expected"),
])
def test_a_header_that_makes_no_sense_is_a_refusal(c_mist, kafka, door, name, value, words):
    c_mist(transports=[door.settings])
    dead, events = kafka.read(door.dead), kafka.read(door.events)
    kafka.produce(door.requests, b'{"functionId":"echo","parameters":{"text":""}}', headers=[(name, value)])
    assert words in dead.wait_one().headers["reason"]
    assert words in body(events.wait_one())["error"]


def test_headers_that_are_not_ours_may_be_anything(c_mist, kafka, door):
    c_mist(transports=[door.settings])
    events = kafka.read(door.events)
    odd = [("x", None), ("y", b"\xff\x00"), ("correlation-id", None), ("traceparent", None), ("traceparent", b"\xff")]
    kafka.produce(door.requests, b'{"functionId":"echo","parameters":{"text":"fine"}}', headers=odd)
    assert body(events.wait_one(event_of("finished")))["result"] == "fine"


def test_a_large_message_is_refused_by_the_limit_and_taken_within_it(c_mist, kafka, door):
    gateway = c_mist(transports=[door.settings])
    dead, events = kafka.read(door.dead), kafka.read(door.events)
    request = {"functionId": "echo", "parameters": {"text": "x" * 10_000_000}}
    _, offset = door.send(request, key=b"k")
    letter = dead.wait_one()
    assert "options.message.max.bytes" in letter.headers["reason"] and letter.key == b"k" and letter.value is None
    assert letter.headers["source-offset"] == str(offset)
    gateway.stop()
    gateway.sections["transports"][0]["options"] = {"message.max.bytes": "11000000"}
    gateway.configure(gateway.rendered())
    gateway.start()
    door.send(request)
    assert len(body(events.wait_one(event_of("finished")))["result"]) == 10_000_000
    assert len(dead.records) == 1


def test_an_outcome_that_is_too_large_for_kafka_says_so(c_mist, kafka, door):
    gateway = c_mist(transports=[door.settings])
    replies = kafka.read(door.replies)
    door.send({"functionId": "big", "parameters": {"bytes": 3_000_000}}, reply_topic=door.replies)
    answer = replies.wait_one()
    assert "more than the broker takes" in body(answer)["error"] and answer.headers["event"] == "finished"
    assert len(gateway.job(body(answer)["id"])["jobResult"]) == 3_000_000


def rewind(kafka, door):
    """Sets the group back to the beginning, once the broker sees that its members are gone."""
    partitions = [TopicPartition(door.requests, number, 0) for number in kafka.leaders(door.requests)]

    def is_set():
        try:
            for future in kafka.admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(door.group, partitions)]).values():
                return all(p.error is None for p in future.result().topic_partitions)
        except confluent_kafka.KafkaException:
            return False

    until(is_set, 60, "the group can be set back")


def test_a_message_that_comes_again_makes_no_second_job(c_mist, kafka, door):
    door.settings["consumer"] = {"session.timeout.ms": "6000"}
    gateway = c_mist(transports=[door.settings])
    events = kafka.read(door.events)
    for i in range(20):
        door.send({"functionId": "echo", "parameters": {"text": str(i)}})
    events.wait(20, event_of("finished"))
    until(lambda: door.committed() == 20)
    gateway.stop()
    rewind(kafka, door)
    gateway.start()
    door.send({"functionId": "echo", "parameters": {"text": "last"}})
    events.wait_one(lambda r: body(r).get("result") == "last")
    until(lambda: door.committed() == 21)
    assert len(gateway.get("/v2/api/jobs?limit=100").json()) == 21


def test_a_topic_that_was_made_anew_has_new_messages(c_mist, kafka, door):
    gateway = c_mist(transports=[door.settings])
    events = kafka.read(door.events)
    door.send({"functionId": "echo", "parameters": {"text": "old"}})
    events.wait_one(event_of("finished"))
    until(lambda: door.committed() == 1)
    gateway.stop()
    for future in kafka.admin.delete_topics([door.requests], operation_timeout=30).values():
        future.result()
    until(lambda: door.requests not in kafka.admin.list_topics(timeout=10).topics)
    kafka.create_topic(door.requests)
    door.send({"functionId": "echo", "parameters": {"text": "new"}})
    gateway.start()
    events.wait_one(lambda r: body(r).get("result") == "new")


def test_an_idempotency_key_makes_one_job_and_an_answer_for_each_request(c_mist, kafka, door):
    gateway = c_mist(transports=[door.settings])
    replies = kafka.read(door.replies)
    for n in (1, 2):
        door.call("echo", {"text": "once"}, idempotency_key="order-7", correlation_id=str(n))
        replies.wait(n)
    first, second = replies.records
    assert first.headers["job-id"] == second.headers["job-id"] and first.value == second.value
    assert [r.headers["correlation-id"] for r in replies.records] == ["1", "2"]
    assert len(gateway.get("/v2/api/jobs").json()) == 1
    door.call("echo", {"text": "other"}, idempotency_key="order-7", correlation_id="3")
    assert "was used for another request" in body(replies.wait(3)[2])["error"]


def test_a_job_is_cancelled_by_a_message(c_mist, kafka, door):
    gateway = c_mist(transports=[door.settings])
    events, dead = kafka.read(door.events), kafka.read(door.dead)
    for job_id in (gateway.submit("sleep", {"ms": 600_000}), None):
        if job_id is None:
            door.send({"functionId": "sleep", "parameters": {"ms": 600_000}, "externalId": "by kafka"})
            job_id = events.wait_one(lambda r: r.headers.get("event") == "initialized" and body(r).get("externalId")).headers["job-id"]
        gateway.wait(job_id, "started")
        door.send({"cancel": job_id})
        events.wait_one(lambda r: of_job(job_id)(r) and event_of("cancelled")(r))
        assert gateway.job(job_id)["status"] == "cancelled"
    door.send({"cancel": job_id})  # of a job that has ended: nothing
    unknown = "01900000-0000-7000-8000-000000000000"
    door.send({"cancel": unknown}, reply_topic=door.replies)
    assert body(kafka.read(door.replies).wait_one())["error"] == f"there is no job {unknown}"
    assert dead.wait_one().headers["reason"] == f"there is no job {unknown}"
    door.send({"cancel": 5})
    assert "cancel: expected the id of a job" in dead.wait(2)[1].headers["reason"]
    until(lambda: door.committed() == 6)


def test_a_structured_cloud_event_is_answered_with_one(c_mist, kafka, door):
    gateway = c_mist(transports=[door.settings])
    replies = kafka.read(door.replies)
    event = {"specversion": "1.0", "id": "e1", "source": "/shop", "type": "order", "subject": "echo", "data": {"text": "cloud"}}
    headers = {"content_type": "application/cloudevents+json; charset=utf-8", "reply_topic": door.replies}
    door.send(event, **headers)
    answer = replies.wait_one()
    cloud = body(answer)
    assert answer.headers["content-type"].startswith("application/cloudevents+json")
    assert cloud["specversion"] == "1.0" and cloud["type"] == "io.mist.job.finished" and cloud["data"]["result"] == "cloud"
    assert cloud["subject"] == answer.headers["job-id"] and cloud["id"] == answer.headers["event-id"]
    door.send(event, **headers)  # the same event again is the same job
    assert replies.wait(2)[1].headers["job-id"] == answer.headers["job-id"]
    assert len(gateway.get("/v2/api/jobs").json()) == 1


def test_a_binary_cloud_event_is_answered_with_one(c_mist, kafka, door):
    c_mist(transports=[door.settings])
    replies = kafka.read(door.replies)
    attributes = {"ce_specversion": "1.0", "ce_id": "e2", "ce_source": "/shop", "ce_type": "order", "content-type": "application/json"}
    kafka.produce(door.functions_prefix + "echo", b'{"text":"cloud"}', b"k", {**attributes, "reply-topic": door.replies})
    answer = replies.wait_one()
    assert body(answer)["result"] == "cloud" and answer.headers["content-type"] == "application/json"
    assert answer.headers["ce_specversion"] == "1.0" and answer.headers["ce_type"] == "io.mist.job.finished"
    assert answer.headers["ce_subject"] == answer.headers["job-id"] and answer.headers["ce_id"] == answer.headers["event-id"]


def numbers(replies, count):
    return sorted(int(body(r)["result"]) for r in replies.wait(count, event_of("finished"), timeout=60))


def test_a_full_queue_holds_messages_back_and_loses_none(c_mist, kafka, prefix):
    door = Door(kafka, prefix, partitions=2)
    one_at_a_time = {"runtime": "example", "worker-mode": "shared", "max-jobs": 1, "jobs-per-worker": 1}
    gateway = c_mist(transports=[door.settings], limits={"queue": 3}, contexts={"example": one_at_a_time})
    replies, dead = kafka.read(door.replies), kafka.read(door.dead)
    held = gateway.submit("sleep", {"ms": 600_000})
    gateway.wait(held, "started")
    for i in range(200):
        kafka.produce_soon(door.requests, json.dumps({"functionId": "echo", "parameters": {"text": str(i)}}), headers={"reply-topic": door.replies})
    kafka.flush()
    until(lambda: len(gateway.get("/v2/api/jobs?status=queued").json()) == 3)
    assert not replies.records and not dead.records
    gateway.connected()
    gateway.cancel(held)
    assert numbers(replies, 200) == list(range(200))
    assert not dead.records and len(replies.records) == 200
    until(lambda: door.committed() == 200)


def test_a_small_window_lets_everything_through(c_mist, kafka, prefix):
    door = Door(kafka, prefix, partitions=3, **{"in-flight": 2})
    c_mist(transports=[door.settings])
    replies = kafka.read(door.replies)
    for i in range(50):
        kafka.produce_soon(door.requests, json.dumps({"functionId": "echo", "parameters": {"text": str(i)}}), str(i), {"reply-topic": door.replies})
    kafka.flush()
    assert numbers(replies, 50) == list(range(50))


def test_events_that_nobody_is_owed_are_dropped_when_there_is_no_room(c_mist, kafka_factory, prefix):
    kafka = kafka_factory()
    door = Door(kafka, prefix, buffer=5)
    by_bytes = {**door.settings, "name": "bytes", "buffer": 10000, "buffer-bytes": "64k", "group": f"{prefix}-2",
                "functions-prefix": f"{prefix}.g."}
    gateway = c_mist(transports=[door.settings, by_bytes])
    gateway.connected()
    kafka.stop()
    for i in range(10):
        gateway.run("echo", {"text": str(i)})
    until(lambda: metric(gateway, "mist_transport_deliveries_total", transport="main", outcome="dropped") > 0)
    until(lambda: 'mist_transport_deliveries_waiting{transport="main"} 5' in gateway.get("/metrics").text)
    assert 'mist_transport_deliveries_total{transport="bytes",outcome="dropped"} 0' in gateway.get("/metrics").text
    for _ in range(5):
        gateway.run("big", {"bytes": 50_000})
    until(lambda: metric(gateway, "mist_transport_deliveries_total", transport="bytes", outcome="dropped") > 0)


def test_a_broker_that_is_down_at_the_start_is_named_and_joined_when_it_comes(c_mist, kafka_factory, prefix):
    kafka = kafka_factory(start=False)
    settings = {"type": "kafka", "name": "orders", "brokers": kafka.bootstrap, "group": prefix, "subscribe-topic": f"{prefix}.in"}
    gateway = c_mist(transports=[settings])
    until(lambda: "transport orders: none of the brokers" in gateway.trouble())
    assert gateway.get("/health/ready").status_code == 200 and not gateway.is_connected()
    assert 'mist_transport_up{transport="orders"} 0' in gateway.get("/metrics").text
    assert gateway.run("echo", {"text": "as ever"})["payload"] == "as ever"
    kafka.start()
    kafka.create_topic(f"{prefix}.in", f"{prefix}.replies", "mist.dead-letter")
    gateway.connected()
    kafka.produce(f"{prefix}.in", b'{"functionId":"echo","parameters":{"text":"hi"}}', headers={"reply-topic": f"{prefix}.replies"})
    assert body(kafka.read(f"{prefix}.replies").wait_one())["result"] == "hi"


def test_an_outcome_waits_for_a_broker_that_went_away(c_mist, kafka_factory, prefix):
    kafka = kafka_factory()
    door = Door(kafka, prefix)
    gateway = c_mist(transports=[door.settings])
    door.call("echo", {"text": "starts the worker"})
    kafka.read(door.replies).wait_one()
    door.kafka.produce(door.requests, b'{"functionId":"sleep","parameters":{"ms":600000}}', headers={"reply-topic": door.replies})
    [job] = until(lambda: gateway.get("/v2/api/jobs?status=started").json())
    kafka.close_readers()
    kafka.kill9()
    until(lambda: not gateway.is_connected())
    gateway.cancel(job["jobId"])
    gateway.wait(job["jobId"], "cancelled")
    kafka.start()
    gateway.connected()
    assert body(kafka.read(door.replies).wait(2)[1])["event"] == "cancelled"


def test_mistd_stops_soon_when_its_broker_is_away(c_mist, kafka_factory, prefix):
    kafka = kafka_factory()
    door = Door(kafka, prefix)
    gateway = c_mist(transports=[door.settings])
    gateway.connected()
    kafka.kill9()
    gateway.run("echo", {"text": "its events wait"})
    began = time.monotonic()
    gateway.stop()
    assert time.monotonic() - began < 28 * PATIENCE, "before mist.stop-timeout"


def test_a_restart_loses_nothing(c_mist, kafka, door):
    gateway = c_mist(transports=[door.settings])
    replies = kafka.read(door.replies)
    door.call("echo", {"text": "0"})
    replies.wait_one()
    door.send({"functionId": "sleep", "parameters": {"ms": 1}}, reply_topic=door.replies)
    gateway.stop()
    for i in range(1, 10):
        door.call("echo", {"text": str(i)})
    gateway.start()
    answers = replies.wait_until(lambda records: len({r.headers["job-id"] for r in records}) == 11 and records)
    assert {body(r)["result"] for r in answers} == {1, *map(str, range(10))}


def test_what_was_owed_is_told_after_a_restart(c_mist, kafka_factory, prefix):
    kafka = kafka_factory()
    door = Door(kafka, prefix)
    gateway = c_mist(transports=[door.settings])
    door.send({"functionId": "sleep", "parameters": {"ms": 600_000}}, reply_topic=door.replies)
    [job] = until(lambda: gateway.get("/v2/api/jobs?status=started").json())
    kafka.kill9()
    gateway.cancel(job["jobId"])
    gateway.wait(job["jobId"], "cancelled")
    gateway.kill9()
    gateway.start()
    kafka.start()
    assert body(kafka.read(door.replies).wait_one())["event"] == "cancelled"


def test_two_clusters_answer_each_its_own(c_mist, kafka, kafka_factory, prefix):
    other = kafka_factory()
    doors = [Door(kafka, prefix), Door(other, prefix)]
    doors[1].settings["name"] = "second"
    c_mist(transports=[door.settings for door in doors])
    for i, door in enumerate(doors):
        door.call("echo", {"text": str(i)})
    for i, door in enumerate(doors):
        replies = door.kafka.read(door.replies)
        assert body(replies.wait_one())["result"] == str(i)
        assert len(replies.records) == 1


def test_a_reply_topic_that_does_not_exist_makes_a_dead_letter_of_the_outcome(c_mist, kafka, door):
    door.settings["producer"] = {"topic.metadata.propagation.max.ms": "1000"}
    c_mist(transports=[door.settings])
    door.call("echo", {"text": "lost"}, key=b"k", reply_topic=f"{door.group}.nowhere")
    letter = kafka.read(door.dead).wait_one()
    assert body(letter)["result"] == "lost" and letter.key == b"k"
    assert f"the topic {door.group}.nowhere cannot be written" in letter.headers["reason"]


def test_a_dead_letter_waits_for_its_topic_and_the_health_says_so(c_mist, kafka, door):
    door.settings.update({"dead-letter-topic": f"{door.group}.later", "producer": {"topic.metadata.propagation.max.ms": "1000"}})
    gateway = c_mist(transports=[door.settings])
    door.send(b"poison")
    until(lambda: f"the dead-letter topic {door.group}.later cannot be written" in gateway.trouble())
    door.call("echo", {"text": "goes on"})
    assert body(kafka.read(door.replies).wait_one())["result"] == "goes on"
    assert door.committed() == 0
    kafka.create_topic(f"{door.group}.later")
    assert kafka.read(f"{door.group}.later").wait_one().value == b"poison"
    until(lambda: door.committed() == 1 and gateway.is_connected())
    until(lambda: f"it works again; this was: the dead-letter topic {door.group}.later cannot be written" in gateway.stderr())


def test_a_topic_that_is_missing_is_named_and_taken_up_when_it_is_made(c_mist, kafka, door):
    door.settings["subscribe-topic"] = f"{door.group}.later"
    gateway = c_mist(transports=[door.settings])
    until(lambda: f"{door.group}.later" in gateway.trouble())
    kafka.create_topic(f"{door.group}.later")
    gateway.connected()
    door.send({"functionId": "echo", "parameters": {"text": "hi"}}, topic=f"{door.group}.later", reply_topic=door.replies)
    assert body(kafka.read(door.replies).wait_one())["result"] == "hi"


def test_a_gateway_that_lost_its_place_in_the_group_takes_it_again(c_mist, kafka, door):
    gateway = c_mist(transports=[door.settings])
    replies = kafka.read(door.replies)
    door.call("echo", {"text": "before"})
    replies.wait_one()
    name = f"mist-main-{(gateway.data / 'gateway-id').read_text()}"
    other = confluent_kafka.Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": door.group, "group.instance.id": name,
                                      "session.timeout.ms": 6000, "log_level": 0})
    other.subscribe([door.requests])
    until(lambda: other.poll(0.1) or other.assignment())
    until(lambda: "a new consumer is made" in gateway.stderr())
    other.close()
    door.call("echo", {"text": "after"})
    assert body(replies.wait(2)[1])["result"] == "after"
    gateway.connected()


@pytest.mark.parametrize("settings,words", [
    ({"options": {"no.such.option": "1"}}, "options.no.such.option"),
    ({"options": {"security.protocol": "telepathy"}}, "options.security.protocol"),
    ({"consumer": {"group.id": "other"}}, "consumer.group.id: it is set by Mist"),
    ({"producer": {"acks": "0"}}, "acks"),
    ({"consumer": {"partition.assignment.strategy": "cooperative-sticky"}}, "expected range or roundrobin"),
    ({"options": {"ssl.ca.location": "/no/such/file", "security.protocol": "ssl"}}, "ssl.ca.location"),
    ({"subscribe-topic": "no/topic"}, "subscribe-topic: expected"),
    ({"functions-prefix": "f.", "publish-topic": "f.events"}, "publish-topic: f.events would be a function's topic"),
    ({"subscribe-topic": "mist.dead-letter"}, "dead-letter-topic: it must be another"),
    ({"in-flight": 0}, "in-flight"),
])
def test_settings_that_cannot_be_stop_the_start(c_mist, settings, words):
    with pytest.raises(DidNotStart) as e:
        c_mist(transports=[{"type": "kafka", **settings}])
    assert words in str(e.value) and "transports" in str(e.value)
