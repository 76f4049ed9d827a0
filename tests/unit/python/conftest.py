# SPDX-License-Identifier: Apache-2.0
import os
import sys

import pytest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "src", "runner", "python"))
sys.path.insert(0, os.path.dirname(__file__))


@pytest.fixture
def gateway(tmp_path):
    from scripted_gateway import Gateway
    made = Gateway(tmp_path)
    yield made
    made.close()


@pytest.fixture
def user_file(tmp_path):
    """Writes a file of the user's and gives its path."""
    def write(text, name="user_code.py"):
        path = tmp_path / name
        path.write_text(text)
        return path
    return write
