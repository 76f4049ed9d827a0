# SPDX-License-Identifier: Apache-2.0
"""POST /v2/api/deployments: artifacts, contexts and functions together, or nothing."""
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from support.mistd import PATIENCE, until

TWICE = "import mist\n\n@mist.function\ndef twice(n: int):\n    return 2 * n\n"
WITH_TEXT = TWICE.replace("n: int", "n: int, s: str")
CONTEXT = {"name": "mine", "runtime": "plain", "workerMode": "shared", "maxJobs": 2}
FUNCTION = {"name": "twice", "path": "twice.py", "className": "twice", "defaultContext": "mine"}


@pytest.fixture
def gateway(plain_mist):
    return plain_mist()


def deploy(gateway, files=(), dry_run=None, **document):
    parts = [("file", (name, content)) for name, content in dict(files).items()]
    if document:
        parts.append(("deployment", (None, json.dumps(document))))
    return gateway.post("/v2/api/deployments", files=parts, params={} if dry_run is None else {"dryRun": dry_run}, timeout=60 * PATIENCE)


def good(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()


def bad(answer, status=400):
    assert answer.status_code == status, answer.text
    return answer.json()


def actions(report):
    return [(thing["name"], thing["action"]) for kind in ("artifacts", "contexts", "functions") for thing in report[kind]]


def is_swept(gateway):
    """The request takes its files with it when its answer has been sent."""
    until(lambda: not staged(gateway), what="an end of the staged files")
    return True


def staged(gateway):
    return sorted(p.name for p in (gateway.data / "artifacts").iterdir() if p.name.startswith("."))


def there(gateway):
    return (gateway.get("/v2/api/artifacts").json(), [c["name"] for c in gateway.get("/v2/api/contexts").json() if c["name"] == "mine"],
            [f["name"] for f in gateway.get("/v2/api/functions").json() if f["name"] in ("twice", "other")])


def test_everything_is_made_together_and_the_second_time_nothing(gateway):
    whole = {"files": {"twice.py": TWICE}, "contexts": [CONTEXT], "functions": [FUNCTION]}
    dry = good(deploy(gateway, **whole, dry_run="true"))
    assert dry["dryRun"] and actions(dry) == [("twice.py", "created"), ("mine", "created"), ("twice", "created")]
    assert there(gateway) == ([], [], []) and is_swept(gateway)
    done = good(deploy(gateway, **whole))
    assert not done["dryRun"] and {**dry, "dryRun": False} == done
    assert done["functions"][0]["after"]["execute"] == {"n": {"type": "MInt"}} and "before" not in done["functions"][0]
    assert done["functions"][0]["after"] == gateway.get("/v2/api/functions/twice").json()
    assert done["contexts"][0]["after"] == gateway.get("/v2/api/contexts/mine").json()
    assert gateway.run("twice", {"n": 21})["payload"] == 42
    again = good(deploy(gateway, **whole))
    assert {action for _, action in actions(again)} == {"unchanged"} and is_swept(gateway)
    gateway.kill9()
    gateway.restart()
    assert there(gateway) == (["twice.py"], ["mine"], ["twice"]) and gateway.run("twice", {"n": 1})["payload"] == 2


def test_a_file_that_does_not_load_replaces_nothing(gateway):
    good(deploy(gateway, {"twice.py": TWICE}, contexts=[CONTEXT], functions=[FUNCTION]))
    problem = bad(deploy(gateway, {"twice.py": "def twice(:\n", "new.py": TWICE}, contexts=[{**CONTEXT, "maxJobs": 9}],
                         functions=[FUNCTION, {**FUNCTION, "name": "other", "path": "new.py", "className": "thrice"}]))
    assert [(e["kind"], e["name"]) for e in problem["errors"]] == [("function", "twice"), ("function", "other")]
    assert "SyntaxError" in problem["errors"][0]["error"] and f"{gateway.data}/artifacts/twice.py" in problem["errors"][0]["error"]
    assert 'no function "thrice" in new.py' in problem["errors"][1]["error"] and "staged" not in str(problem)
    assert "SyntaxError" in problem["detail"] and "1 more" in problem["detail"]
    assert there(gateway) == (["twice.py"], ["mine"], ["twice"]) and is_swept(gateway)
    assert gateway.get("/v2/api/contexts/mine").json()["maxJobs"] == 2
    assert gateway.get("/v2/api/artifacts/twice.py").text == TWICE and gateway.run("twice", {"n": 2})["payload"] == 4


def test_what_is_in_the_way_of_an_artifact_is_a_conflict_that_does_not_pass(gateway):
    (gateway.data / "artifacts" / "twice.py").mkdir()
    upload = gateway.post("/v2/api/artifacts", files={"file": ("twice.py", TWICE)}, params={"force": "true"})
    for refused in upload, deploy(gateway, {"twice.py": TWICE}, contexts=[CONTEXT], functions=[FUNCTION]):
        assert "Is a directory" in bad(refused, 409)["detail"] and "Retry-After" not in refused.headers
    assert gateway.get("/v2/api/contexts/mine").status_code == 404 and is_swept(gateway)


def test_functions_that_are_not_named_are_asked_before_their_artifact_is_replaced(gateway):
    good(deploy(gateway, {"twice.py": TWICE}, contexts=[CONTEXT], functions=[FUNCTION]))
    problem = bad(deploy(gateway, {"twice.py": TWICE.replace("def twice", "def thrice")}))
    assert problem["errors"][0]["name"] == "twice" and "the functions there are: thrice" in problem["detail"]
    assert gateway.get("/v2/api/artifacts/twice.py").text == TWICE
    report = good(deploy(gateway, {"twice.py": WITH_TEXT}))
    changed = report["functions"][0]
    assert (changed["name"], changed["action"], changed["named"]) == ("twice", "updated", False)
    assert list(changed["before"]["execute"]) == ["n"] and list(changed["after"]["execute"]) == ["n", "s"]
    assert "took effect: 1 artifact, 0 contexts, 0 functions" in gateway.stderr()
    assert gateway.run("twice", {"n": 1, "s": "x"})["payload"] == 2  # at once: the new signature is in force


def test_a_deployment_waits_for_one_that_makes_a_function_of_the_same_file(gateway, tmp_path):
    """Else the function of the first would be checked against its file, and be called with that of the second."""
    good(deploy(gateway, contexts=[CONTEXT]))
    slow = (f"import pathlib, time\n\npathlib.Path('{tmp_path}/begun').touch()\n"
            f"while not pathlib.Path('{tmp_path}/go').exists():\n    time.sleep(0.02)\n") + TWICE
    with ThreadPoolExecutor() as pool:
        first = pool.submit(deploy, gateway, {"twice.py": slow}, functions=[FUNCTION])
        until((tmp_path / "begun").exists, what="the first to be described")
        thrice = {**FUNCTION, "name": "thrice", "className": "thrice"}
        second = pool.submit(deploy, gateway, {"twice.py": TWICE.replace("twice", "thrice")}, functions=[thrice])
        third = pool.submit(gateway.post, "/v2/api/functions", json={**FUNCTION, "name": "third"})
        until(lambda: gateway.get("/v2/api/contexts/mine").ok)
        (tmp_path / "go").touch()
        good(first.result())
        problem = bad(second.result())
        assert "twice" in [e["name"] for e in problem["errors"]] and third.result().status_code == 200
    assert gateway.run("twice", {"n": 2})["payload"] == 4 and gateway.run("third", {"n": 3})["payload"] == 6


def test_a_function_that_was_broken_before_is_in_nobodys_way(gateway):
    gateway.post("/v2/api/functions?force=true", json={**FUNCTION, "defaultContext": "plain", "name": "other", "className": "none"})
    report = good(deploy(gateway, {"twice.py": TWICE}, contexts=[CONTEXT], functions=[FUNCTION]))
    assert ("other", "unchanged") in actions(report) and gateway.run("twice", {"n": 2})["payload"] == 4


def test_a_new_context_decides_by_whom_a_function_is_described(gateway):
    answer = deploy(gateway, {"twice.py": TWICE}, functions=[FUNCTION])
    assert "defaultContext: there is no context mine" in bad(answer)["detail"]
    answer = deploy(gateway, {"twice.py": TWICE}, contexts=[{**CONTEXT, "runtime": "none"}], functions=[FUNCTION])
    problem = bad(answer)
    assert [e["name"] for e in problem["errors"]] == ["mine"] and "runtime: there is no runtime none" in problem["detail"]
    assert there(gateway) == ([], [], [])


def test_what_the_configuration_file_has_is_not_changed(gateway):
    problem = bad(deploy(gateway, contexts=[{"name": "plain", "runtime": "plain", "maxJobs": 77}]), 409)
    assert "configuration file" in problem["detail"]
    configured = gateway.get("/v2/api/functions/typed").json()
    same = {key: configured[key] for key in ("name", "path", "className", "defaultContext")}
    assert actions(good(deploy(gateway, functions=[same]))) == [("typed", "unchanged")]
    bad(deploy(gateway, functions=[{**same, "className": "nothing"}]), 409)


def test_what_is_not_said_of_retries_stays(gateway):
    good(deploy(gateway, {"twice.py": TWICE}, functions=[{**FUNCTION, "defaultContext": "plain", "retries": 2, "unknownArguments": "ignore"}]))
    report = good(deploy(gateway, functions=[{**FUNCTION, "defaultContext": "plain"}]))
    assert actions(report) == [("twice", "unchanged")]
    report = good(deploy(gateway, functions=[{**FUNCTION, "defaultContext": "plain", "retries": 0}]))
    assert report["functions"][0]["before"]["retries"] == 2 and "retries" not in report["functions"][0]["after"]


@pytest.mark.parametrize("parts, status, words", [
    ([("deployment", (None, "{"))], 400, "part deployment"), ([("deployment", (None, "[]"))], 400, "expected a JSON object, got an array"),
    ([("deployment", (None, '{"function": []}'))], 400, "did you mean functions"),
    ([("deployment", (None, '{"functions": {}}'))], 400, "expected an array"),
    ([("deployment", (None, '{"functions": [1]}'))], 400, "functions[0]: expected an object with a name"),
    ([("deployment", (None, '{"contexts": [{"name": "a"}, {"name": "a"}]}'))], 400, "contexts[1]: a comes twice"),
    ([("deployment", (None, '{"contexts": [{"name": "a/b"}]}'))], 400, "context a/b: name"),
    ([("deployment", (None, '{"contexts": [{"name": "a", "maxJob": 1}]}'))], 400, "context a: there is no such member: maxJob"),
    ([("deployment", (None, '{"contexts": [{"name": "default"}]}'))], 400, "context-defaults"),
    ([("deployment", (None, '{"functions": [{"name": "f", "path": 1}]}'))], 400, "function f: "),
    ([("deployment", (None, "{}")), ("deployment", (None, "{}"))], 400, "part deployment: expected one"),
    ([("file", ("../a.py", "x"))], 400, "filename"), ([("file", ("a.py", "x")), ("file", ("b.py", "y")), ("file", ("a.py", "z"))], 400, "a.py came twice"),
    ([("other", (None, "x"))], 400, 'part "other"'), ([("deployment", (None, " " * (9 << 20)))], 413, "http.body"),
], ids=str)
def test_what_is_not_right_is_refused_with_its_name(plain_mist_for_module, parts, status, words):
    answer = plain_mist_for_module.post("/v2/api/deployments", files=parts)
    assert words in bad(answer, status)["detail"], answer.text
    assert is_swept(plain_mist_for_module)


def test_a_body_that_is_no_form_and_an_empty_one(plain_mist_for_module):
    assert "multipart/form-data" in bad(plain_mist_for_module.post("/v2/api/deployments", json={}))["detail"]
    body = b"--xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.py\"\r\n\r\nhalf"
    answer = plain_mist_for_module.post("/v2/api/deployments", data=body, headers={"Content-Type": "multipart/form-data; boundary=xyz"})
    assert "ends in the middle" in bad(answer)["detail"] and is_swept(plain_mist_for_module)


def test_all_artifacts_together_have_a_limit(plain_mist):
    gateway = plain_mist(http={"deployment": "1m", "artifact": "900k"})
    assert "http.artifact" in bad(deploy(gateway, {"a.bin": "x" * 1_000_000}), 413)["detail"]
    assert "http.deployment" in bad(deploy(gateway, {"a.bin": "x" * 800_000, "b.bin": "x" * 800_000}), 413)["detail"]
    assert is_swept(gateway) and gateway.get("/v2/api/artifacts").json() == []


def test_a_gateway_that_is_killed_in_a_deployment_has_nothing_of_it(gateway, tmp_path):
    slow = f"import os, time\nopen({str(tmp_path / 'seen')!r}, 'w').close()\nwhile not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.01)\n"
    errors = []

    def call():
        try:
            deploy(gateway, {"twice.py": slow + TWICE}, contexts=[CONTEXT], functions=[FUNCTION])
        except requests.ConnectionError as e:  # it is cut
            errors.append(e)

    thread = threading.Thread(target=call)
    thread.start()
    until(lambda: (tmp_path / "seen").exists(), what="a worker that loads the file")
    assert staged(gateway) == [".staged-0"]
    gateway.kill9()
    thread.join()
    (tmp_path / "go").touch()
    gateway.restart()
    assert is_swept(gateway) and there(gateway) == ([], [], []) and errors


def test_others_wait_for_a_name_that_is_being_deployed(gateway, tmp_path):
    slow = f"import os, time\nopen({str(tmp_path / 'seen')!r}, 'w').close()\nwhile not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.01)\n"
    answers = []
    deploys = threading.Thread(target=lambda: answers.append(deploy(gateway, {"twice.py": slow + TWICE}, contexts=[CONTEXT], functions=[FUNCTION])))
    deploys.start()
    until(lambda: (tmp_path / "seen").exists(), what="a worker that loads the file")
    others = [threading.Thread(target=lambda: answers.append(gateway.post("/v2/api/contexts", json={**CONTEXT, "maxJobs": 5}))),
              threading.Thread(target=lambda: answers.append(deploy(gateway, {"late.py": TWICE}, functions=[FUNCTION])))]
    for other in others:
        other.start()
    until(lambda: staged(gateway) == [".staged-0", ".staged-1"], what="the file of another deployment")
    for _ in range(30):  # who did not wait would have its answer meanwhile
        assert gateway.get("/v2/api/contexts/mine").status_code == 404 and not answers
    (tmp_path / "go").touch()
    for thread in [deploys, *others]:
        thread.join()
    assert [a.status_code for a in answers] == [200, 200, 200], [a.text for a in answers]
    assert gateway.get("/v2/api/contexts/mine").json()["maxJobs"] == 5
