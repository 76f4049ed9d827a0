# SPDX-License-Identifier: Apache-2.0
"""Functions, contexts and artifacts made over HTTP, as Mist's clients make them."""

import hashlib
import threading

import pytest
import requests

from support.cli import cli, said

CODE = b"import mist\n\n@mist.function\ndef twice(n: int):\n    return 2 * n\n"


@pytest.fixture
def gateway(plain_mist):
    return plain_mist()


def upload(gateway, name, content, **query):
    return gateway.post("/v2/api/artifacts", files={"file": (name, content)}, params=query)


def twice(**changes):
    return {"name": "twice", "path": "twice.py", "className": "twice", "defaultContext": "plain", **changes}


def test_an_artifact_is_uploaded_once_and_served_back(gateway):
    r = upload(gateway, "twice.py", CODE)
    assert (r.status_code, r.text) == (200, "twice.py")
    assert gateway.get("/v2/api/artifacts").json() == ["twice.py"]
    again = upload(gateway, "twice.py", b"other")
    assert again.status_code == 409 and "Filename must be unique: found twice.py in repository" in again.json()["detail"]
    r = gateway.get("/v2/api/artifacts/twice.py")
    assert r.content == CODE and r.headers["Content-Type"].startswith("text/x-python")
    assert gateway.get("/v2/api/artifacts/twice.py/sha").text == hashlib.sha1(CODE).hexdigest()
    assert gateway.get("/v2/api/artifacts/twice.py/sha?algorithm=sha256").text == hashlib.sha256(CODE).hexdigest()
    assert upload(gateway, "twice.py", b"other", force="True").status_code == 200
    assert gateway.get("/v2/api/artifacts/twice.py").content == b"other"
    assert gateway.delete("/v2/api/artifacts/twice.py").text == "twice.py"
    r = gateway.delete("/v2/api/artifacts/twice.py")
    assert r.status_code == 404 and "No file found by name twice.py" in r.json()["detail"]


def test_conditions_and_ranges_of_an_artifact(gateway):
    upload(gateway, "a.bin", bytes(range(100)))
    path = "/v2/api/artifacts/a.bin"
    tag = gateway.get(path).headers["ETag"]
    assert gateway.get(path, headers={"If-None-Match": tag}).status_code == 304
    for asked, start, end in ("bytes=0-9", 0, 10), ("bytes=90-", 90, 100), ("bytes=-5", 95, 100), ("bytes=50-999", 50, 100):
        r = gateway.get(path, headers={"Range": asked})
        assert r.status_code == 206 and r.content == bytes(range(start, end))
        assert r.headers["Content-Range"] == f"bytes {start}-{end - 1}/100"
    r = gateway.get(path, headers={"Range": "bytes=100-"})
    assert r.status_code == 416 and r.headers["Content-Range"] == "bytes */100"
    for asked in "bytes=5-1", "items=0-1", "bytes=0-1,5-6", "bytes=x-":
        assert gateway.get(path, headers={"Range": asked}).status_code == 200
    assert gateway.get(path, headers={"Range": "bytes=0-9", "If-Range": '"other"'}).status_code == 200
    upload(gateway, "a.bin", bytes(range(100)), force="true")
    assert gateway.get(path, headers={"If-None-Match": tag}).status_code == 200


def test_an_artifact_of_many_megabytes_costs_no_memory(gateway):
    before = gateway.resident_bytes()
    content = b"0123456789abcdef" * (4 << 20)
    assert upload(gateway, "large.bin", content).status_code == 200
    assert gateway.resident_bytes() - before < 16 << 20
    assert gateway.get("/v2/api/artifacts/large.bin/sha").text == hashlib.sha1(content).hexdigest()


@pytest.mark.parametrize("name", ["../escape.py", "a/b.py", ".hidden", "..", "a b.py", "x" * 200, ""])
def test_names_are_never_paths(gateway, name):
    r = upload(gateway, name, CODE)
    assert r.status_code == 400, r.text
    assert gateway.get("/v2/api/artifacts").json() == []


def test_uploads_that_are_none(gateway):
    path = "/v2/api/artifacts"
    assert gateway.post(path, data=b"plain").status_code == 400
    assert gateway.post(path, files={"other": ("x.py", CODE)}).status_code == 400
    r = gateway.post(path, data=b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"cut.py\"\r\n\r\nabc",
                     headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert r.status_code == 400
    assert gateway.get(path).json() == []
    for bad in "%2e%2e%2fmist.db", "..%2Fmist.db", "%2Fetc%2Fpasswd", "none.py":
        assert gateway.get(f"/v2/api/artifacts/{bad}").status_code == 404
    assert gateway.get("/v2/api/artifacts/none.py/sha?algorithm=md5").status_code == 400


@pytest.mark.parametrize("parameters", ["boundary=B; charset=utf-8", "charset=utf-8; boundary=B", 'charset="utf-8" ; BOUNDARY="B"',
                                        'Boundary="B";charset=utf-8;', "boundary = B ;charset=utf-8"])
def test_the_parameters_of_an_uploads_content_type_in_any_order(plain_mist_for_module, parameters):
    body = b'--B\r\nContent-Disposition: form-data; name="file"; filename="any.py"\r\n\r\n' + CODE + b"\r\n--B--\r\n"
    for path in "/v2/api/artifacts?force=true", "/v2/api/deployments":
        r = plain_mist_for_module.post(path, data=body, headers={"Content-Type": f"Multipart/Form-Data; {parameters}"})
        assert r.status_code == 200, r.text
        assert plain_mist_for_module.get("/v2/api/artifacts/any.py").content == CODE


def test_two_uploads_of_one_name_at_once_leave_one_whole_file(gateway):
    results = []
    contents = [bytes([i]) * 3_000_000 for i in range(4)]
    threads = [threading.Thread(target=lambda c=c: results.append(
        requests.post(gateway.url + "/v2/api/artifacts", files={"file": ("same.bin", c)}).status_code)) for c in contents]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(results) == [200, 409, 409, 409]
    assert gateway.get("/v2/api/artifacts/same.bin").content in contents


def test_a_function_is_made_called_changed_and_deleted(gateway):
    upload(gateway, "twice.py", CODE)
    r = gateway.post("/v2/api/functions", json=twice())
    assert r.status_code == 200, r.text
    assert r.json() == {**twice(), "lang": "python", "execute": {"n": {"type": "MInt"}}, "tags": []}
    assert gateway.run("twice", {"n": 21})["payload"] == 42
    again = gateway.post("/v2/api/functions", json=twice())
    assert again.status_code == 400 and "Endpoint twice already exists" in again.json()["detail"]
    assert gateway.post("/v2/api/functions?force=True", json=twice()).json() == twice()

    upload(gateway, "twice.py", CODE.replace(b"2 * n", b"3 * n"), force="true")
    gateway.until(lambda: gateway.run("twice", {"n": 1})["payload"] == 3)

    gateway.post("/v2/api/contexts", json={"name": "mine", "runtime": "plain"})
    assert gateway.put("/v2/api/functions", json=twice(defaultContext="mine")).json()["defaultContext"] == "mine"
    job = gateway.wait(gateway.submit("twice", {"n": 1}))
    assert job["context"] == "mine" and job["params"]["filePath"] == "twice.py"
    assert gateway.delete("/v2/api/functions/twice").json()["name"] == "twice"
    assert gateway.delete("/v2/api/functions/twice").status_code == 404
    assert gateway.post("/v2/api/functions/twice/jobs", json={"n": 1}).status_code == 404


def test_what_was_made_survives_the_gateway(gateway):
    upload(gateway, "twice.py", CODE)
    gateway.post("/v2/api/functions", json=twice())
    gateway.post("/v2/api/contexts", json={"name": "kept", "maxJobs": 7, "runtime": "plain", "sparkConf": {"a.b": 1, "c": True}})
    gateway.kill9()
    gateway.restart()
    assert gateway.run("twice", {"n": 2})["payload"] == 4
    context = gateway.get("/v2/api/contexts/kept").json()
    assert context["maxJobs"] == 7 and context["sparkConf"] == {"a.b": "1", "c": "true"}
    gateway.hangup()
    assert gateway.get("/v2/api/contexts/kept").json() == context


@pytest.mark.parametrize("body,words", [
    (b"{", "malformed"), (b"[]", "object"), (b"{}", "name"), (b'{"name": 1}', "name"),
    (b'{"name": "f"}', "path"), (b'{"name": "f", "path": 1}', "path"), (b'{"name": "f", "path": "x.py"}', "className"),
    (b'{"name": "f", "path": "x.py", "className": "", "defaultContext": "plain"}', "className"),
    (b'{"name": "f", "path": "x.py", "className": "f"}', "defaultContext"),
    (b'{"name": "../f", "path": "x.py", "className": "f", "defaultContext": "plain"}', "name"),
    (b'{"name": "f", "path": "x.py", "className": "f", "defaultContext": "a/b"}', "defaultContext"),
    (b'{"name": "f", "path": "none.py", "className": "f", "defaultContext": "plain"}', "none.py cannot be read"),
    (b'{"name": "typed", "path": "none.py", "className": "f", "defaultContext": "plain"}', "already exists"),
])
def test_a_function_that_cannot_be_is_refused(gateway, body, words):
    r = gateway.post("/v2/api/functions", data=body)
    assert r.status_code == 400 and words in r.json()["detail"], r.text
    assert gateway.get("/v2/api/functions/f").status_code == 404


def test_a_wrong_class_name_is_refused_when_the_function_is_made(gateway):
    upload(gateway, "twice.py", CODE)
    r = gateway.post("/v2/api/functions", json=twice(className="thrice"))
    assert r.status_code == 400 and 'no function "thrice"' in r.json()["detail"]
    assert gateway.put("/v2/api/functions", json=twice()).status_code == 400


def test_what_the_configuration_has_is_read_only(gateway):
    configured = {"name": "typed", "path": "x.py", "className": "f", "defaultContext": "plain"}
    assert gateway.post("/v2/api/functions?force=true", json=configured).status_code == 409
    assert gateway.put("/v2/api/functions", json=configured).status_code == 409
    assert gateway.delete("/v2/api/functions/typed").status_code == 404
    assert gateway.post("/v2/api/contexts", json={"name": "plain"}).status_code == 409
    assert gateway.delete("/v2/api/contexts/plain").status_code == 404
    assert gateway.post("/v2/api/contexts", json={"name": "default"}).status_code == 400
    assert gateway.delete("/v2/api/contexts/default").status_code == 404
    assert gateway.run("typed", {"i": 1})["success"]


def test_a_context_is_made_with_defaults_and_replaced_whole(gateway):
    r = gateway.post("/v2/api/contexts", json={"name": "c", "downtime": "60s", "maxParallelJobs": 20, "workerMode": "shared"})
    assert r.status_code == 200, r.text
    made = r.json()
    assert made["downtime"] == "60s" and made["maxJobs"] == 20 and made["maxConnFailures"] == 5 and made["runOptions"] == ""
    assert gateway.put("/v2/api/contexts/c", json={**made, "maxJobs": 2}).json()["maxJobs"] == 2
    assert gateway.get("/v2/api/contexts/c").json()["maxJobs"] == 2
    r = gateway.put("/v2/api/contexts/c", json={"name": "c"})
    assert r.status_code == 400 and "sparkConf" in r.json()["detail"]
    r = gateway.put("/v2/api/contexts/none", json={**made, "name": "none"})
    assert r.status_code == 404 and "Context with name none not found" in r.json()["detail"]
    assert gateway.put("/v2/api/contexts/c", json={**made, "name": "other"}).status_code == 400
    assert gateway.delete("/v2/api/contexts/c").json()["name"] == "c"
    assert gateway.get("/v2/api/contexts/c").status_code == 404


@pytest.mark.parametrize("member,value,words", [
    ("maxJobs", "2", "maxJobs: expected an integer"), ("maxJobs", 0, "maxJobs"), ("maxJobs", 1.5, "maxJobs"), ("downtime", 60, "downtime"),
    ("downtime", "soon", "downtime"), ("precreated", "yes", "precreated"), ("workerMode", "both", "Unknown mode both"),
    ("sparkConf", [], "sparkConf"), ("sparkConf", {"a": {}}, "sparkConf"), ("runOptions", 1, "runOptions"), ("runOptions", "--name 'my job", "runOptions: expected every quote to be closed, but a ' is not"),
    ("runtime", "none", "no runtime none"),
])
def test_a_context_that_cannot_be_is_refused(gateway, member, value, words):
    r = gateway.post("/v2/api/contexts", json={"name": "c", member: value})
    assert r.status_code == 400 and words in r.json()["detail"], r.text


def test_pages_of_other_origins_are_refused(gateway):
    evil = {"Origin": "https://evil.example"}
    r = gateway.post("/v2/api/functions/typed/jobs", data='{"i": 1}', headers={**evil, "Content-Type": "text/plain"})
    assert r.status_code == 403 and "evil.example" in r.json()["detail"] and "Access-Control-Allow-Origin" not in r.headers
    assert gateway.request("OPTIONS", "/v2/api/status", headers=evil).status_code == 403
    assert gateway.get("/v2/api/jobs").json() == []
    own = {"Origin": gateway.url}
    assert gateway.get("/v2/api/status", headers=own).status_code == 200


def test_cors_origins_opens_the_api_to_those_it_names(plain_mist):
    gateway = plain_mist(http={"cors-origins": "https://a.example, https://b.example"})
    r = gateway.request("OPTIONS", "/v2/api/any", headers={"Origin": "https://b.example", "Access-Control-Request-Headers": "x-y"})
    assert (r.status_code, r.text) == (200, "Preflight response")
    assert r.headers["Access-Control-Allow-Origin"] == "https://b.example" and r.headers["Access-Control-Allow-Headers"] == "x-y"
    assert gateway.get("/v2/api/status", headers={"Origin": "https://c.example"}).status_code == 403
    all_of_them = plain_mist(http={"cors-origins": "*"})
    r = all_of_them.get("/v2/api/nothing", headers={"Origin": "https://c.example"})
    assert r.status_code == 404 and r.headers["Access-Control-Allow-Origin"] == "*"
    assert r.headers["Access-Control-Allow-Methods"] == "GET, POST, PUT, DELETE, HEAD, OPTIONS"


def test_devrun_runs_a_file_without_registering_it(gateway, tmp_path):
    path = tmp_path / "dev.py"
    path.write_bytes(CODE)
    body = {"fakeName": "dev", "path": str(path), "className": "twice", "context": "plain", "parameters": {"n": 4}, "externalId": "d"}
    assert gateway.post("/v2/hidden/devrun?force=true", json=body).json() == {"success": True, "payload": 8, "errors": []}
    job = gateway.wait(gateway.post("/v2/hidden/devrun", json=body).json()["id"])
    assert job["function"] == "dev" and job["externalId"] == "d" and job["jobResult"] == 8
    assert gateway.get("/v2/api/functions/dev").status_code == 404
    for change, words in ({"path": None}, "path"), ({"className": 1}, "className"), ({"parameters": []}, "parameters"), \
            ({"fakeName": "a/b"}, "fakeName"), ({"parameters": {"n": "x"}}, "Invalid field n"), ({"path": str(tmp_path / "none.py")}, "none.py"):
        r = gateway.post("/v2/hidden/devrun", json={**body, **change})
        assert r.status_code in (400, 404) and words in r.json()["detail"], r.text


def test_the_first_generation_waits_and_repeats_the_request(gateway, tmp_path):
    r = gateway.post("/api/typed", json={"i": 5})
    assert r.status_code == 200
    assert r.json() == {"success": True, "payload": {"i": 5, "s": "x", "l": None, "b": False}, "errors": [],
                        "request": {"route": "typed", "parameters": {"i": 5}}}
    path = tmp_path / "old.py"
    path.write_bytes(CODE)
    body = {"path": str(path), "className": "twice", "namespace": "plain", "parameters": {"n": 3}, "externalId": "e"}
    assert gateway.post("/jobs", json=body).json() == {"success": True, "payload": 6, "errors": [], "request": body}
    answer = gateway.post("/api/unencodable", json={}).json()
    assert answer["success"] is False and answer["request"]["route"] == "unencodable"
    assert gateway.post("/api/none", json={}).status_code == 400


def test_history_is_kept_as_long_as_it_is_told_to(plain_mist):
    gateway = plain_mist(limits={"history": "1s"})
    job_id = gateway.submit("chatty", {"lines": 1})  # it is there as long as it has not ended
    gateway.until(lambda: gateway.get(f"/v2/api/jobs/{job_id}").status_code == 404)
    gateway.until(lambda: not list(gateway.data.glob(f"logs/job-{job_id}*")))
    assert gateway.run("typed", {"i": 1})["success"]


def test_a_function_that_does_not_load_shows_why_until_it_does(gateway):
    upload(gateway, "twice.py", b"raise RuntimeError('not yet')\n")
    assert gateway.post("/v2/api/functions?force=true", json=twice()).status_code == 200
    shown = gateway.get("/v2/api/functions/twice")
    assert shown.status_code == 200 and "not yet" in shown.json()["error"] and shown.headers["ETag"]
    assert shown.json().items() >= {**twice(), "lang": "python", "execute": {}, "tags": []}.items()
    upload(gateway, "twice.py", CODE, force="true")
    gateway.until(lambda: "error" not in gateway.get("/v2/api/functions/twice").json())
    gateway.until(lambda: "function twice can be loaded now" in gateway.stderr())
    assert gateway.get("/v2/api/functions/twice").json()["execute"] == {"n": {"type": "MInt"}}


def test_functions_that_do_not_load_are_left_out_where_that_is_set(plain_mist):
    gateway = plain_mist(mist={"broken-functions": "hide"})
    assert "missing" not in [f["name"] for f in gateway.get("/v2/api/functions").json()]
    assert gateway.get("/v2/api/functions/missing").status_code == 404


def test_an_artifact_that_functions_use_is_deleted_with_force_only(gateway):
    upload(gateway, "twice.py", CODE)
    for name in "b", "a":
        assert gateway.post("/v2/api/functions", json=twice(name=name)).status_code == 200
    r = gateway.delete("/v2/api/artifacts/twice.py")
    assert r.status_code == 409 and "twice.py is used by functions" in r.json()["detail"] and "force=true" in r.json()["detail"]
    assert gateway.run("a", {"n": 1})["payload"] == 2
    assert "force=true" in said(gateway, "artifacts", "delete", "-y", "twice.py", code=3)
    cli(gateway, "artifacts", "delete", "-y", "--force", "twice.py")
    gateway.until(lambda: "cannot be read" in gateway.get("/v2/api/functions/a").json().get("error", ""))
    upload(gateway, "twice.py", CODE)
    for name in "a", "b":
        gateway.delete(f"/v2/api/functions/{name}")
    assert gateway.delete("/v2/api/artifacts/twice.py").status_code == 200
    gateway.reconfigure(mist={"used-artifacts": "delete"})
    upload(gateway, "twice.py", CODE)
    assert gateway.post("/v2/api/functions", json=twice()).status_code == 200
    gateway.until(lambda: gateway.delete("/v2/api/artifacts/twice.py").status_code == 200)


def test_an_artifact_that_jobs_use_is_deleted_with_force_only(c_mist):
    mist = c_mist()
    assert mist.post("/v2/api/artifacts", files={"file": ("a.bin", b"1")}).status_code == 200
    made = {"name": "made", "path": "a.bin", "className": "sleep", "defaultContext": "example"}
    assert mist.post("/v2/api/functions", json=made).status_code == 200
    job = mist.submit("made", {"ms": 600_000})
    mist.wait(job, "started")
    assert mist.delete("/v2/api/functions/made").status_code == 200
    refused = mist.delete("/v2/api/artifacts/a.bin")
    assert refused.status_code == 409 and "a.bin is used by 1 job that waits or runs" in refused.json()["detail"]
    mist.delete(f"/v2/api/jobs/{job}")
    mist.wait(job)
    assert mist.delete("/v2/api/artifacts/a.bin").status_code == 200
    assert mist.delete("/v2/api/artifacts/a.bin").status_code == 404


def test_a_path_that_leads_nowhere_is_refused(gateway):
    """Wherever a path is said; with `force`, too, which only does not load it. That an empty one is good where workers are a program
    is in http/test_nothing_unknown.py."""
    upload(gateway, "twice.py", CODE)
    assert gateway.post("/v2/api/functions", json=twice()).status_code == 200
    for path, said in (("", "path: expected a file or an address"), (" ", "path: expected a file, or"), ("http://", "path: expected a file, or"),
                       ("s3a:// /", "path: expected a file, or"), ("ftp://a/b.py", "path: expected a file, or"),
                       ("a\tb.py", "without control characters"), ("a" * 5000, "at most 1024 bytes")):
        answers = [gateway.post("/v2/api/functions", json=twice(name="other", path=path)),
                   gateway.post("/v2/api/functions?force=true", json=twice(name="other", path=path)),
                   gateway.put("/v2/api/functions", json=twice(path=path)),
                   gateway.post("/v2/hidden/devrun", json={"fakeName": "x", "path": path, "className": "twice", "context": "plain"}),
                   gateway.post("/jobs", json={"path": path, "className": "twice", "namespace": "plain", "parameters": {}})]
        for r in answers:
            assert r.status_code == 400 and said in r.json()["detail"], (path[:20], r.text)
    assert gateway.get("/v2/api/functions/twice").json()["path"] == "twice.py"
    assert gateway.get("/v2/api/functions/other").status_code == 404


def test_a_property_of_mists_own_has_to_be_known(gateway):
    assert gateway.post("/v2/api/contexts", json={"name": "c", "sparkConf": {"spark.mist.decimals": "string", "spark.x": "odd"}}).status_code == 200
    for conf, said in (({"spark.mist.decimals": "strings"}, 'sparkConf: spark.mist.decimals: expected auto, number or string, got "strings"; '
                        "did you mean string?"), ({"spark.mist.decimals": 1}, 'got "1"'), ({"spark.mist.decimal": "string"}, "is not known here")):
        r = gateway.post("/v2/api/contexts", json={"name": "d", "sparkConf": conf})
        assert r.status_code == 400 and said in r.json()["detail"], r.text


def test_a_folder_of_artifacts_that_cannot_be_read_is_no_empty_one(c_mist):
    gateway = c_mist()
    folder = gateway.data / "artifacts"
    assert gateway.get("/v2/api/artifacts").json() == [] and gateway.get("/v2/api/artifacts/a.py").status_code == 404
    folder.rmdir()
    folder.write_text("no folder")
    for path in "/v2/api/artifacts", "/v2/api/artifacts/a.py", "/v2/api/artifacts/a.py/sha":
        answer = gateway.get(path)
        assert answer.status_code == 503 and "cannot be read: Not a directory" in answer.json()["detail"]
    folder.unlink()
    folder.mkdir()
    assert gateway.get("/v2/api/artifacts").json() == []
