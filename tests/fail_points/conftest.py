# SPDX-License-Identifier: Apache-2.0
from support.broker_fixtures import kafka, mosquitto, prefix, shared_kafka, shared_mosquitto  # noqa: F401
