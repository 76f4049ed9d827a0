# SPDX-License-Identifier: Apache-2.0
"""One gateway with three doors, and a client for each that does the same: so that a test can be told over any of them.
begin() sends a call, and returns what waits for its outcome; call() is both."""
import json
import uuid
from dataclasses import dataclass

FINAL = ("finished", "failed", "cancelled")
NAMES = ("http", "mqtt", "kafka")


@dataclass
class Outcome:
    """How a call ended. `event` is "refused" when there is no job."""

    event: str
    job: str = None
    result: object = None
    error: str = None


def _outcome(told, job):
    if job is None:
        return Outcome("refused", error=told["error"])
    return Outcome(told["event"], job, told.get("result"), told.get("error"))


class HttpDoor:
    source = "Http"
    headers = {"idempotency_key": "Idempotency-Key", "traceparent": "traceparent"}

    def __init__(self, gateway):
        self.gateway = gateway

    def _post(self, function, params, properties):
        headers = {self.headers[k]: v for k, v in properties.items() if k in self.headers}
        query = {k: v for k, v in properties.items() if k not in self.headers}
        body = params if isinstance(params, bytes) else json.dumps(params)
        return self.gateway.post(f"/v2/api/functions/{function}/jobs", data=body, params=query, headers=headers)

    def begin(self, function, params, **properties):
        answer = self._post(function, params, properties)
        return lambda: self._wait(answer)

    def call(self, function, params, **properties):
        return self.begin(function, params, **properties)()

    def _wait(self, answer):
        if answer.status_code != 200:
            return Outcome("refused", error=answer.json()["detail"])
        job = self.gateway.wait(answer.json()["id"])
        result = job.get("jobResult")
        finished = job["status"] == "finished"
        return Outcome(job["status"], job["jobId"], result if finished else None, None if finished else result)

    def submit(self, function, params, **properties):
        return self._post(function, params, properties).json()["id"]

    def cancel(self, job_id):
        self.gateway.delete(f"/v2/api/jobs/{job_id}")

    def events(self, job_id):
        lines = self.gateway.get(f"/v2/api/jobs/{job_id}/events", stream=True).iter_lines()
        names = []
        while not names or names[-1] not in FINAL:
            line = next(lines).decode()
            if line.startswith("event: "):
                names.append(line.removeprefix("event: "))
        return names


class MqttDoor:
    source = "Async Mqtt"

    def __init__(self, gateway, broker, prefix):
        self.prefix, self.topic = prefix, f"{prefix}/answers/{uuid.uuid4().hex}"
        self.client = broker.subscribe(self.topic, f"{prefix}/jobs/+/events")

    @staticmethod
    def settings(broker, prefix):
        return {"type": "mqtt", "url": broker.url, "prefix": prefix}

    def _send(self, function, params, properties):
        mark = uuid.uuid4().bytes
        user = {k.replace("_", "-"): str(v) for k, v in properties.items()}
        self.client.publish(f"{self.prefix}/functions/{function}/jobs", params, user=user, response_topic=self.topic,
                            correlation_data=mark)
        return lambda m: m.properties.get("correlation_data") == mark

    def begin(self, function, params, **properties):
        told = self._send(function, params, properties)
        return lambda: self._wait(told)

    def call(self, function, params, **properties):
        return self.begin(function, params, **properties)()

    def _wait(self, told):
        answer = self.client.wait_one(told)
        return _outcome(answer.json(), answer.user.get("job-id"))

    def submit(self, function, params, **properties):
        return self.client.wait_one(self._send(function, params, {**properties, "events": "all"})).json()["id"]

    def cancel(self, job_id):
        self.client.publish(f"{self.prefix}/jobs/{job_id}/cancel")

    def events(self, job_id):
        topic = f"{self.prefix}/jobs/{job_id}/events"
        self.client.wait_one(lambda m: m.topic == topic and m.json()["event"] in FINAL)
        return [m.json()["event"] for m in self.client.messages if m.topic == topic]


class KafkaDoor:
    source = "Async Kafka"

    def __init__(self, gateway, kafka, prefix):
        self.kafka, self.prefix = kafka, prefix
        self.replies, self.all = kafka.read(f"{prefix}.replies"), kafka.read(f"{prefix}.out")

    @staticmethod
    def settings(kafka, prefix, functions):
        kafka.create_topic(f"{prefix}.in", f"{prefix}.out", f"{prefix}.replies", f"{prefix}.dead",
                           *(f"{prefix}.f.{name}" for name in functions))
        return {"type": "kafka", "brokers": kafka.bootstrap, "group": prefix, "subscribe-topic": f"{prefix}.in",
                "publish-topic": f"{prefix}.out", "functions-prefix": f"{prefix}.f.", "dead-letter-topic": f"{prefix}.dead"}

    def _send(self, function, params, properties):
        mark = uuid.uuid4().hex
        headers = {k.replace("_", "-"): str(v) for k, v in properties.items()}
        value = params if isinstance(params, bytes) else json.dumps(params).encode()
        self.kafka.produce(f"{self.prefix}.f.{function}", value, mark.encode(),
                           {"reply-topic": f"{self.prefix}.replies", "correlation-id": mark, **headers})
        return lambda record: record.headers.get("correlation-id") == mark

    def begin(self, function, params, **properties):
        told = self._send(function, params, properties)
        return lambda: self._wait(told)

    def call(self, function, params, **properties):
        return self.begin(function, params, **properties)()

    def _wait(self, told):
        answer = self.replies.wait_one(told)
        return _outcome(json.loads(answer.value), answer.headers.get("job-id"))

    def submit(self, function, params, **properties):
        return self.replies.wait_one(self._send(function, params, {**properties, "events": "all"})).headers["job-id"]

    def cancel(self, job_id):
        self.kafka.produce(f"{self.prefix}.in", json.dumps({"cancel": job_id}).encode())

    def events(self, job_id):
        def told(record):
            return record.headers.get("job-id") == job_id and record.headers["event"] != "logs"

        self.all.wait_one(lambda r: told(r) and r.headers["event"] in FINAL)
        return [r.headers["event"] for r in self.all.records if told(r)]


def three_doors(make_gateway, mosquitto, kafka, prefix, functions, **sections):
    """(gateway, {name: door}), everything connected."""
    gateway = make_gateway(transports=[MqttDoor.settings(mosquitto, prefix), KafkaDoor.settings(kafka, prefix, functions)], **sections)
    gateway.connected()
    return gateway, {"http": HttpDoor(gateway), "mqtt": MqttDoor(gateway, mosquitto, prefix),
                     "kafka": KafkaDoor(gateway, kafka, prefix)}
