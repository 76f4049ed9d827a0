# SPDX-License-Identifier: Apache-2.0
"""CloudEvents on a topic of Kafka that is used both ways."""
import json

import pytest

from support.kafka import Door
from support.mistd import until


def in_one_object(door, event):
    door.send({**event, "data": {"text": "x"}}, content_type="application/cloudevents+json")
    return lambda r: json.loads(r.value).get("type") == "io.mist.job.finished"


def in_headers(door, event):
    door.kafka.produce(door.requests, b'{"text":"x"}', None, {f"ce_{name}": value for name, value in event.items()})
    return lambda r: r.headers.get("ce_type") == "io.mist.job.finished"


@pytest.mark.parametrize("send", [in_one_object, in_headers])
def test_one_topic_may_serve_cloud_events_both_ways(c_mist, kafka, prefix, send):
    door = Door(kafka, prefix)
    gateway = c_mist(transports=[{**door.settings, "publish-topic": door.requests}])
    everything, dead = kafka.read(door.requests), kafka.read(door.dead)
    is_the_end = send(door, {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order", "subject": "echo"})
    everything.wait_one(is_the_end)
    until(lambda: door.committed() == sum(kafka.ends(door.requests).values()), what="the gateway to have read what it told")
    assert len(gateway.get("/v2/api/jobs").json()) == 1 and not dead.records
    assert 'mist_transport_requests_total{transport="main",outcome="refused"} 0' in gateway.get("/metrics").text
