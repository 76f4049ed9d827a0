# SPDX-License-Identifier: Apache-2.0
from support.broker_fixtures import kafka, kafka_factory, mosquitto, mosquitto_factory, prefix, shared_kafka, shared_mosquitto  # noqa: F401
from support.gateway_fixtures import c_mist, plain_mist, plain_mist_for_module  # noqa: F401
