# SPDX-License-Identifier: Apache-2.0
"""Arguments: converted, or refused before there is a job."""

import pytest

from support.gateways import FUNCTIONS, PLAIN, Gateway, plain_functions
from support.mistd import ROOT, runtimes

MISTPYS = str(ROOT / "tests" / "support" / "mistpy_functions.py")


@pytest.fixture(scope="module")
def mist():
    functions = plain_functions() | {
        "careless": {"path": FUNCTIONS, "class-name": "typed", "context": "plain", "unknown-arguments": "ignore"},
        "mistpys": {"path": MISTPYS, "class-name": "multiplied", "context": "plain"}}
    made = Gateway({"runtimes": runtimes(), "contexts": {"plain": PLAIN}, "functions": functions})
    yield made
    print(made.log())
    made.close()


def refused(mist, function, arguments):
    before = mist.get("/v2/api/jobs?paginate=true").json()["total"]
    answer = mist.post(f"/v2/api/functions/{function}/jobs", json=arguments)
    assert answer.status_code == 400 and mist.get("/v2/api/jobs?paginate=true").json()["total"] == before
    return answer.json()["detail"]


def test_values_become_what_is_annotated(mist):
    given = {"span": {"start": "2019-10-07", "days": 2}, "colour": "red", "at": "2019-10-07T12:48:23+0200", "price": "1.10",
             "mode": "slow", "data": "AP8=", "pair": [1, "y"], "long": "PT1H"}
    assert mist.run("report", given)["payload"] == ["Span", "date", "Colour", "datetime", "Decimal", "str", "bytes", "tuple", "timedelta"]
    assert mist.run("report", {"span": {"start": "2019-10-07"}, "at": 5})["payload"][3] == "int"


@pytest.mark.parametrize("wrong, place", [
    ({"span": {"start": "7.10.2019"}}, "Invalid field span.start: Invalid type: expected String (date as 2019-10-07)"),
    ({"span": {"start": "2019-10-07", "dyas": 2}}, "Invalid field span.dyas: there is no such field; did you mean days?"),
    ({"colour": "RED"}, 'Invalid field colour: Invalid type: expected "red", got "RED"'), ({"at": "soon"}, "Invalid field at"),
    ({"price": "dear"}, "Invalid field price"), ({"mode": "both"}, 'expected one of "fast", "slow", got "both"'),
    ({"data": "!"}, "Invalid field data"), ({"pair": [1]}, "expected List[Int, String]"), ({"long": "P1Y"}, "Invalid field long"),
    ({"collour": "red"}, "Invalid field collour: there is no such argument; did you mean colour?")])
def test_what_cannot_be_converted_makes_no_job(mist, wrong, place):
    assert place in refused(mist, "report", {"span": {"start": "2019-10-07"}, **wrong})


def test_each_wrong_argument_is_an_error_of_the_problem(mist):
    problem = mist.post("/v2/api/functions/typed/jobs", json={"i": "x,Invalid field s: y", "b": [], "other": 1}).json()
    assert problem["detail"].startswith("Errors[Invalid field i: Invalid type: expected Int, got ")
    assert problem["errors"] == [
        {"kind": "argument", "name": "i", "error": 'Invalid type: expected Int, got "x,Invalid field s: y"'},
        {"kind": "argument", "name": "b", "error": "Invalid type: expected Boolean, got []"},
        {"kind": "argument", "name": "other", "error": "there is no such argument"}]
    assert "errors" not in mist.post("/v2/api/functions/nosuch/jobs", json={}).json()


def test_unknown_arguments_are_refused_ignored_and_named_or_given_to_who_takes_them(mist):
    assert "strat" in refused(mist, "whoami", {"strat": 1})
    answer = mist.post("/v2/api/functions/careless/jobs?force=true", json={"i": 1, "j": 2})
    assert answer.json()["payload"]["i"] == 1 and answer.headers["Mist-Ignored"] == "j"
    assert mist.run("takes_any", {"start": "x", "strat": 1})["payload"] == {"start": "x", "strat": 1}
    told = mist.post("/v2/api/functions/mistpys/jobs", json={"numbers": [1], "verbose": True})
    assert told.status_code == 200 and told.headers["Mist-Ignored"] == "verbose"
    mist.delete(f"/v2/api/jobs/{told.json()['id']}")


def test_a_function_of_the_api_and_the_whole_gateway_can_ignore_them(mist):
    body = {"name": "by-api", "path": FUNCTIONS, "className": "typed", "defaultContext": "plain"}
    assert mist.post("/v2/api/functions", json={**body, "unknownArguments": "sometimes"}).status_code == 400
    assert mist.post("/v2/api/functions", json={**body, "unknownArguments": "ignore"}).json()["unknownArguments"] == "ignore"
    assert mist.put("/v2/api/functions", json=body).json()["unknownArguments"] == "ignore"  # of which Mist's clients know nothing
    assert mist.run("by-api", {"i": 1, "j": 2})["success"]
    mist.reconfigure(mist={"unknown-arguments": "ignore"})
    mist.until(lambda: mist.post("/v2/api/functions/whoami/jobs?force=true", json={"strat": 1}).headers.get("Mist-Ignored") == "strat",
               what="the new setting")
    mist.reconfigure(mist={"unknown-arguments": "refuse"})


def test_it_is_checked_on_every_transport(mist):
    """The check is the core's: the first generation's routes and CloudEvents have it as well."""
    assert mist.post("/api/whoami", json={"strat": 1}).status_code == 400
    event = {"specversion": "1.0", "id": "1", "source": "/test", "type": "t", "subject": "whoami", "data": {"strat": 1}}
    assert mist.post("/v2/api/events", json=event, headers={"Content-Type": "application/cloudevents+json"}).status_code == 400
