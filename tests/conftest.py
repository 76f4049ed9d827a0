# SPDX-License-Identifier: Apache-2.0
"""Fixtures of every test that needs a gateway. What a gateway said is shown when its test fails."""
import pytest

from support.broker_fixtures import (  # noqa: F401
    kafka, kafka_factory, mosquitto, mosquitto_factory, prefix, shared_kafka, shared_mosquitto,
)
from support.mistd import Mistd

GATEWAYS = pytest.StashKey[list]()


@pytest.fixture
def mist_factory(request):
    """mist_factory(config=None, sets=(), env=None, start=True) → Mistd, ended with the test. See support/mistd.py."""
    gateways = request.node.stash.setdefault(GATEWAYS, [])

    def make(*arguments, **options):
        gateway = Mistd(*arguments, start=False, **{k: v for k, v in options.items() if k != "start"})
        gateways.append(gateway)
        return gateway.start() if options.get("start", True) else gateway

    yield make
    complaints = []
    for gateway in gateways:
        try:
            gateway.close()
        except AssertionError as e:
            complaints.append(str(e))
    assert not complaints, "; ".join(complaints)


@pytest.fixture
def mist(mist_factory):
    """A gateway with the shipped configuration."""
    return mist_factory()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        for gateway in item.stash.get(GATEWAYS, []):
            report.sections.append((f"log of mistd at {gateway.url}", gateway.log()))
    return report
