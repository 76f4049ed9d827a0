# SPDX-License-Identifier: Apache-2.0
"""Entity tags and conditions: whoever edits what it read overwrites nothing that it did not read."""
import re
import threading

import pytest
import requests

CODE = b"import mist\n\n@mist.function\ndef twice(n: int):\n    return 2 * n\n"
FUNCTION = {"name": "twice", "path": "twice.py", "className": "twice", "defaultContext": "plain"}
CONTEXT = {"name": "c", "maxJobs": 2, "sparkConf": {"b": "1", "a": "2"}}


@pytest.fixture
def gateway(plain_mist):
    return plain_mist()


def upload(gateway, content=CODE, name="twice.py"):
    assert gateway.post("/v2/api/artifacts?force=true", files={"file": (name, content)}).status_code == 200


def make(gateway, noun):
    """The path of a new one, a change of it by PUT, and the tag that its making was answered with."""
    upload(gateway)
    made = gateway.post(f"/v2/api/{noun}", json=FUNCTION if noun == "functions" else CONTEXT)
    assert made.status_code == 200, made.text

    def change(i, **headers):
        if noun == "functions":
            return gateway.put("/v2/api/functions", json={**FUNCTION, "retries": 10 + i},
                               headers={**headers})
        return gateway.put("/v2/api/contexts/c", json={**made.json(), "maxJobs": 10 + i}, headers=headers)

    return f"/v2/api/{noun}/" + ("twice" if noun == "functions" else "c"), change, made.headers["ETag"]


def refused(answer, words):
    assert answer.status_code == 412, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json" and "ETag" not in answer.headers
    problem = answer.json()
    assert problem["title"] == "Precondition Failed" and words in problem["detail"]


@pytest.mark.parametrize("noun", ["functions", "contexts"])
def test_a_tag_lasts_until_the_settings_change(gateway, noun):
    path, change, made = make(gateway, noun)
    shown = gateway.get(path)
    tag = shown.headers["ETag"]
    assert tag == made and re.fullmatch(r'"[0-9a-f]{32}-[0-9a-f]{32}"', tag)
    assert gateway.request("HEAD", path).headers["ETag"] == tag
    assert "ETag" not in gateway.get(f"/v2/api/{noun}").headers
    gateway.restart()
    assert gateway.get(path).headers["ETag"] == tag and gateway.get(path).json() == shown.json()
    changed = change(1)
    assert changed.status_code == 200 and changed.headers["ETag"] != tag
    assert gateway.get(path).headers["ETag"] == changed.headers["ETag"]


@pytest.mark.parametrize("noun,name", [("functions", "typed"), ("contexts", "plain"), ("contexts", "default")])
def test_what_is_configured_has_a_tag_too(gateway, noun, name):
    tag = gateway.get(f"/v2/api/{noun}/{name}").headers.get("ETag")
    if name == "default":
        gateway.post("/v2/api/contexts", json=CONTEXT)
    assert gateway.get(f"/v2/api/{noun}/{name}", headers={"If-None-Match": tag}).status_code == 304


@pytest.mark.parametrize("noun", ["functions", "contexts"])
def test_a_reader_gets_304_while_nothing_changed(gateway, noun):
    path, change, tag = make(gateway, noun)
    for listed in tag, "W/" + tag, f'"x", {tag}', "*":
        r = gateway.get(path, headers={"If-None-Match": listed})
        assert (r.status_code, r.content, r.headers["ETag"]) == (304, b"", tag)
    assert gateway.request("HEAD", path, headers={"If-None-Match": tag}).status_code == 304
    assert gateway.get(path, headers={"If-None-Match": '"x"'}).status_code == 200
    assert gateway.get(path, headers={"If-Match": tag}).status_code == 200
    refused(gateway.get(path, headers={"If-Match": '"x"'}), "changed")
    assert change(1).status_code == 200
    assert gateway.get(path, headers={"If-None-Match": tag}).status_code == 200
    assert gateway.get(path[:-1] + "none", headers={"If-None-Match": "*"}).status_code == 404


@pytest.mark.parametrize("noun", ["functions", "contexts"])
def test_an_edit_of_something_else_than_was_read_is_refused(gateway, noun):
    path, change, tag = make(gateway, noun)
    refused(change(1, **{"If-Match": '"stale"'}), "changed since it was read")
    first = change(1, **{"If-Match": tag})
    assert first.status_code == 200
    refused(change(2, **{"If-Match": tag}), "changed since it was read")
    refused(change(2, **{"If-Match": "W/" + first.headers["ETag"]}), "changed")
    refused(change(2, **{"If-Match": "not a tag"}), "changed")
    refused(gateway.delete(path, headers={"If-Match": tag}), "changed since it was read")
    assert gateway.get(path).headers["ETag"] == first.headers["ETag"]
    assert change(2, **{"If-Match": f'"x", {first.headers["ETag"]}'}).status_code == 200
    assert change(3, **{"If-Match": "*"}).status_code == 200
    assert gateway.delete(path, headers={"If-Match": gateway.get(path).headers["ETag"]}).status_code == 200
    assert gateway.delete(path, headers={"If-Match": tag}).status_code == 404


@pytest.mark.parametrize("noun,body,query", [("functions", FUNCTION, "?force=true"), ("functions", FUNCTION, ""), ("contexts", CONTEXT, "")])
def test_a_post_may_ask_not_to_overwrite(gateway, noun, body, query):
    path, _change, tag = make(gateway, noun)
    for headers in {"If-None-Match": "*"}, {"If-None-Match": tag}:
        refused(gateway.post(f"/v2/api/{noun}{query}", json=body, headers=headers), "exists already")
    refused(gateway.post(f"/v2/api/{noun}{query}", json=body, headers={"If-Match": '"stale"'}), "changed")
    gateway.delete(path)
    refused(gateway.post(f"/v2/api/{noun}{query}", json=body, headers={"If-Match": "*"}), "does not exist")
    assert gateway.get(path).status_code == 404
    r = gateway.post(f"/v2/api/{noun}{query}", json=body, headers={"If-None-Match": "*"})
    assert r.status_code == 200
    assert gateway.delete(path, headers={"If-Match": r.headers["ETag"]}).status_code == 200


def test_a_new_artifact_is_news_to_readers_and_no_reason_to_refuse_editors(gateway):
    path, change, tag = make(gateway, "functions")
    upload(gateway, CODE.replace(b"n: int", b"n: int, m: str"))
    gateway.until(lambda: "m" in gateway.get(path, headers={"If-None-Match": '"x"'}).json()["execute"])
    assert gateway.get(path, headers={"If-None-Match": tag}).headers["ETag"] != tag
    assert change(1, **{"If-Match": tag}).status_code == 200


@pytest.mark.parametrize("noun", ["functions", "contexts"])
def test_of_many_who_read_the_same_one_wins(gateway, noun):
    path, change, tag = make(gateway, noun)
    for _round in range(5):
        tag, barrier, answers = gateway.get(path).headers["ETag"], threading.Barrier(8), []

        def edit(i, tag=tag, barrier=barrier, answers=answers):
            barrier.wait()
            answers.append((i, change(_round * 8 + i, **{"If-Match": tag}).status_code))

        threads = [threading.Thread(target=edit, args=(i,)) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert sorted(status for _, status in answers) == [200] + [412] * 7


def test_of_many_who_make_the_same_one_wins(gateway):
    upload(gateway)
    barrier, answers = threading.Barrier(8), []

    def make_one(i):
        barrier.wait()
        conditions = {"If-None-Match": "*"} if i % 2 else {}
        answers.append(requests.post(gateway.url + "/v2/api/functions", json=FUNCTION, headers=conditions).status_code)

    threads = [threading.Thread(target=make_one, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert answers.count(200) == 1 and set(answers) <= {200, 400, 412}, answers
