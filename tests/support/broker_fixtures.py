# SPDX-License-Identifier: Apache-2.0
"""Fixtures of real brokers. `mosquitto` and `kafka` are shared by all tests: each uses names that begin with `prefix`, and leaves
them running. What stops, kills or configures a broker asks `mosquitto_factory` or `kafka_factory` for one of its own."""
import re
import uuid

import pytest


@pytest.fixture
def prefix(request):
    """The beginning of every topic and group of this test; good for MQTT and for Kafka."""
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', request.node.name)[:60]}-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def shared_mosquitto(tmp_path_factory):
    from support.mosquitto import Mosquitto

    broker = Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    yield broker
    broker.close()


@pytest.fixture
def mosquitto(shared_mosquitto):
    """The shared broker; the clients that this test made of it end with the test."""
    yield shared_mosquitto
    shared_mosquitto.drop_clients()
    assert shared_mosquitto.is_running(), "a test ended the broker of all"


@pytest.fixture(scope="session")
def shared_kafka(tmp_path_factory):
    from support.kafka import Kafka

    # Nobody ends this one: it does not take itself for dead when it is held up for a while.
    kafka = Kafka(tmp_path_factory.mktemp("kafka"), secured=True, broker_session_timeout_ms=60_000)
    yield kafka
    kafka.close()


@pytest.fixture
def kafka(shared_kafka):
    """The shared broker; the readers that this test made of it end with the test."""
    yield shared_kafka
    shared_kafka.close_readers()
    assert shared_kafka.is_running(), "a test ended the broker of all"


def _factory(new):
    made = []

    def make(*arguments, **options):
        made.append(new(*arguments, **options))
        return made[-1]

    yield make
    for broker in made:
        broker.close()
        print(broker.log())


@pytest.fixture
def mosquitto_factory(tmp_path_factory):
    """mosquitto_factory(**options of Mosquitto) → a broker of this test's own."""
    from support.mosquitto import Mosquitto

    yield from _factory(lambda **options: Mosquitto(tmp_path_factory.mktemp("mosquitto"), **options))


@pytest.fixture
def kafka_factory(tmp_path_factory):
    """kafka_factory(size=1, **options of Kafka) → a cluster of this test's own."""
    from support.kafka import Kafka

    yield from _factory(lambda size=1, **options: Kafka(tmp_path_factory.mktemp("kafka"), size, **options))
