# SPDX-License-Identifier: Apache-2.0
"""Transports that were built outside the tree: the example of tests/support/modules/spool_transport.c."""
import json
import os

import pytest

from support.mistd import DidNotStart, build_folder


def spool(name="spool-transport"):
    return build_folder() / "tests" / "support" / f"{name}.so"


def section(path, directory):
    return f'transports = ( {{ type = "plugin"; path = "{path}"; settings = {{ directory = "{directory}"; }}; }} );\n'


def put(directory, name, request):
    part = directory / (name + ".new")
    part.write_text(request if isinstance(request, str) else json.dumps(request))
    os.rename(part, directory / (name + ".json"))


def outcome(gateway, directory, name):
    path = directory / (name + ".out")
    gateway.until(path.exists)
    return json.loads(path.read_text())


def test_a_plugin_brings_requests_and_takes_outcomes(plain_mist, tmp_path):
    gateway = plain_mist(section(spool(), tmp_path))
    put(tmp_path, "one", {"function": "typed", "parameters": {"i": 4}})
    assert outcome(gateway, tmp_path, "one")["result"]["i"] == 4
    put(tmp_path, "two", {"function": "typed", "parameters": {"i": "x"}})
    assert "Invalid field i" in outcome(gateway, tmp_path, "two")["error"]
    put(tmp_path, "three", "[")
    assert "expected function" in outcome(gateway, tmp_path, "three")["error"]
    (job,) = gateway.get("/v2/api/jobs").json()
    assert job["source"] == "Spool"


def test_an_outcome_finds_its_file_after_kill_9(plain_mist, tmp_path):
    gateway = plain_mist(section(spool(), tmp_path))
    flag = tmp_path / "flag"
    put(tmp_path, "late", {"function": "wait_for", "parameters": {"path": str(flag)}})
    gateway.until(lambda: gateway.get("/v2/api/jobs?status=started").json())
    gateway.kill9()
    gateway.restart()
    flag.write_text("")
    assert "result" in outcome(gateway, tmp_path, "late")


@pytest.mark.parametrize("path,words", [
    (spool("stale-transport"), "was made for version 999"),
    ("/no/such/file.so", "cannot be loaded"),
    ("libc.so.6", "cannot be loaded"),
])
def test_what_is_no_plugin_stops_the_start(plain_mist, tmp_path, path, words):
    with pytest.raises(DidNotStart) as e:
        plain_mist(section(path, tmp_path))
    assert words in str(e.value) and "transports.plugin" in str(e.value)


def test_a_plugins_own_settings_are_its_own(plain_mist, tmp_path):
    with pytest.raises(DidNotStart) as e:
        plain_mist(section(spool(), tmp_path / "none"))
    assert "settings.directory" in str(e.value)
