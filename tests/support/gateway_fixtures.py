# SPDX-License-Identifier: Apache-2.0
"""Fixtures that make gateways and end them."""
import pytest

from support import gateways


def factory(make):
    made = []

    def new(*args, **options):
        made.append(make(*args, **options))
        return made[-1]

    yield new
    errors = []
    for gateway in made:
        print(gateway.log())
        try:
            gateway.close()
        except Exception as e:
            errors.append(e)
    if errors:
        raise errors[0]


@pytest.fixture
def plain_mist():
    yield from factory(gateways.plain)


@pytest.fixture
def c_mist():
    yield from factory(gateways.c_workers)


@pytest.fixture(scope="module")
def plain_mist_for_module():
    gateway = gateways.plain()
    yield gateway
    gateway.close()
