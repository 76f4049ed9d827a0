# SPDX-License-Identifier: Apache-2.0
"""Requests that Schemathesis makes up from the document of the HTTP API, good ones and bad ones: whatever comes, the answer is
no error of the server's and is as the document says. Its report is shown when it is not."""
import json
import sys

import pytest
import schemathesis
from click.testing import CliRunner
from hypothesis.configuration import set_hypothesis_home_dir
from schemathesis.cli import schemathesis as program

from support.gateways import FUNCTIONS, PATIENCE, PLAIN, Gateway, sections_of

EXAMPLES = 50  # of each operation; where a sanitizer makes the gateway slow there are fewer
CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
          "response_schema_conformance")
ENDLESS = "followEvents"  # the stream of all jobs


@schemathesis.hook
def before_call(context, case, kwargs):
    """A context with workers of its own from the start would be a hundred thousand processes."""
    if isinstance(case.body, dict) and case.body.get("precreated"):
        case.body["precreated"] = False


@schemathesis.deserializer("text/plain")
def read_text(context, response):
    return response.text


@pytest.fixture
def gateway():
    """Functions that end by themselves and harm nothing; every context has plain Python workers."""
    functions = {name: {"path": FUNCTIONS, "class-name": name, "context": "plain"}
                 for name in ("typed", "nothing", "chatty", "odd_values", "unencodable")}
    python = {"kind": "python", "python": sys.executable}
    gateway = Gateway(sections_of({"functions": functions, "contexts": {"plain": PLAIN},
                                   "runtimes": {"default": python, "plain": python}}, {}))
    yield gateway
    gateway.close()


def known(gateway, document):
    """The document, with names that there are among those that are made up, and arguments that fit."""
    components = document["components"]

    def also(component, *names):
        schema = component["schema"]
        component["schema"] = {"anyOf": [{"enum": list(names)}, schema]}

    upload = gateway.post("/v2/api/artifacts", files={"file": ("some.py", b"def some():\n    return 1\n")})
    assert upload.status_code == 200, upload.text
    jobs = [gateway.submit("chatty"), gateway.submit("unencodable"), gateway.submit("nothing")]
    for job in jobs:
        gateway.wait(job)
    parameters = components["parameters"]
    also(parameters["FunctionName"], "typed", "nothing", "chatty")
    also(parameters["ContextName"], "plain")
    also(parameters["Context"], "plain")
    also(parameters["ArtifactName"], "some.py")
    also(parameters["JobId"], *jobs)
    also(parameters["WorkerId"], gateway.get("/v2/api/workers").json()[0]["name"])
    also(parameters["Prefer"], "wait=1", "respond-async")
    also(parameters["IdempotencyKey"], "one", "two")
    also(parameters["Range"], "bytes=0-9", "bytes=-5", "bytes=1000000-")
    also(parameters["IfNoneMatch"], "*")
    also(parameters["CloudSubject"], "typed", "nothing")
    for name in "Arguments", "ArgumentsOrEvent":
        also(components["requestBodies"][name]["content"]["application/json"], {}, {"i": 1}, {"i": 1, "s": "x", "lines": 2})
    components["schemas"]["CloudEvent"]["properties"]["data"] = {"anyOf": [
        {"enum": [{"functionId": "typed", "parameters": {"i": 1}}, {"i": 1}, {}]}, {}]}
    output = document["paths"]["/v2/api/workers/{id}/output"]["get"]
    output["parameters"] = [parameter for parameter in output["parameters"] if parameter["name"] != "follow"]  # it goes on while the worker lives
    for name in "DevRun", "FirstGenerationRun":
        components["schemas"][name]["properties"]["path"] = {"anyOf": [{"enum": [FUNCTIONS, "some.py"]}, {"type": "string"}]}
    return document


def test_no_answer_is_wrong(gateway, monkeypatch):
    monkeypatch.chdir(gateway.home)  # both leave files where they stand
    set_hypothesis_home_dir(gateway.home)
    document = gateway.home / "openapi.json"
    document.write_text(json.dumps(known(gateway, gateway.get("/v2/api/openapi.json").json())))
    result = CliRunner().invoke(program, [
        "run", str(document), "--url", gateway.url, "--checks", ",".join(CHECKS), "--exclude-operation-id", ENDLESS,
        "--phases", "examples,coverage,fuzzing,stateful", "--max-examples", str(max(5, int(EXAMPLES / PATIENCE))), "--seed", "1",
        "--continue-on-failure", "--no-shrink", "--generation-database", "none", "--request-timeout", str(30 * PATIENCE),
        "--suppress-health-check", "all", "--warnings", "off", "--no-color"])
    print(result.output)
    assert result.exit_code == 0, "Schemathesis found what is wrong, or could not run"
    assert gateway.get("/health/ready").status_code == 200
