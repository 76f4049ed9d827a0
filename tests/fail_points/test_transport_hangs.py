# SPDX-License-Identifier: Apache-2.0
"""A broker's library that does not come back from a call, or a callback of it that does not, holds up no end of the gateway."""
import time

import pytest

from support import gateways
from support.mistd import PATIENCE, Mistd, until

HANG = "delay=60000"


@pytest.mark.parametrize("point", ["connect", "publish", "arrived"])
def test_the_end_leaves_a_thread_behind_that_hangs_in_mqtt(point, mosquitto, prefix):
    transport = {"type": "mqtt", "name": "main", "url": mosquitto.url, "prefix": prefix}
    gateway = Mistd({**gateways.c_sections(), "transports": [transport]}, start=False,
                    env={"MIST_FAIL_POINTS": f"transport.mqtt.{point}:{HANG}"})
    try:
        gateway.start()
        if point == "arrived":
            gateway.connected()
            mosquitto.pub(f"{prefix}/functions/echo/jobs", b'{"text": "hello"}')
        until(lambda: f"fail point transport.mqtt.{point}" in gateway.stderr(), what="the hang")
        began = time.monotonic()
        gateway.stop()
        assert time.monotonic() - began < 15 * PATIENCE
        assert "left behind" in gateway.stderr()
    finally:
        gateway.close()
