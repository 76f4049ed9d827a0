# SPDX-License-Identifier: Apache-2.0
"""Functions whose artifact is somewhere else: workers get it by its address."""
import email.utils
import http.server
import io
import threading
import time
import zipfile

import pytest

from support.mistd import PATIENCE, Mistd, until

PLAIN = {"runtime": "plain", "worker-mode": "shared", "max-jobs": 2, "jobs-per-worker": 2}
CODE = "import os\ndef f(n: int = 0): return {'says': '%s', 'n': n, 'pid': os.getpid()}\n"
FUNCTIONS = "/v2/api/functions"


class Files:
    """A real HTTP server for some files; `sent` are (path, status) of its answers."""

    def __init__(self):
        self.files, self.sent, self.is_tagged = {}, [], True
        files = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = files.files.get(self.path)
                tag = f'"{hash(body)}"'
                is_known = files.is_tagged and self.headers.get("If-None-Match") == tag
                status = 404 if body is None else 304 if is_known else 200
                files.sent.append((self.path, status))
                body = body if status == 200 else b""
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                if files.is_tagged:
                    self.send_header("ETag", tag)
                else:
                    self.send_header("Last-Modified", email.utils.formatdate(usegmt=True))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def put(self, path, data):
        self.files[path] = data.encode() if isinstance(data, str) else data
        return self.url + path

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def files():
    made = Files()
    yield made
    made.close()


@pytest.fixture
def start():
    made = []

    def new(functions=None, **sections):
        contexts = {"plain": PLAIN, **sections.pop("contexts", {})}
        made.append(Mistd({"contexts": contexts, "functions": functions or {}, **sections}))
        return made[-1]

    yield new
    for mist in made:
        print(mist.log())
        mist.close()


def away(path, name="f", context="plain"):
    return {"path": path, "class-name": name, "context": context}


def config(path, name="away", class_name="f", context="plain"):
    return {"name": name, "path": path, "className": class_name, "defaultContext": context}


def says(mist, function="away", **params):
    answer = mist.run(function, params)
    assert answer["success"], answer
    return answer["payload"]["says"]


def test_a_function_over_http_is_described_run_and_changed_in_a_living_worker(start, files):
    url = files.put("/code/job.py", CODE % "one")
    mist = start({"away": away(url)})
    shown = mist.get(f"{FUNCTIONS}/away").json()
    assert shown["path"] == url and shown["execute"] == {"n": {"type": "MOption", "args": [{"type": "MInt"}]}}
    assert [f["name"] for f in mist.get(FUNCTIONS).json()] == ["away"]
    first = mist.run("away", {"n": 1})["payload"]
    before = len(files.sent)
    again = mist.run("away", {"n": 2})["payload"]
    # Whoever describes functions looks, too, when what it knows is some seconds old.
    asked = files.sent[before:]
    assert (first["says"], again["says"]) == ("one", "one") and ("/code/job.py", 304) in asked and len(asked) <= 2
    files.put("/code/job.py", CODE % "two")
    changed = mist.run("away", {"n": 3})["payload"]
    assert changed["says"] == "two" and changed["pid"] == first["pid"] and files.sent[-1] == ("/code/job.py", 200)
    assert mist.wait(mist.submit("away"))["params"]["filePath"] == url


def test_without_tags_a_change_reaches_the_next_job_too(start, files):
    files.is_tagged = False
    mist = start({"away": away(files.put("/job.py", CODE % "one"))})
    assert says(mist) == "one"
    files.put("/job.py", CODE % "two")
    assert says(mist) == "two"


def test_a_changed_signature_is_known_after_a_while(start, files):
    mist = start({"away": away(files.put("/job.py", CODE % "one"))})
    refused = mist.post(f"{FUNCTIONS}/away/jobs", json={"n": "text"})
    assert refused.status_code == 400 and "n" in refused.json()["detail"]
    files.put("/job.py", "def f(n: str): return {'says': n}\n")
    until(lambda: mist.get(f"{FUNCTIONS}/away").json()["execute"] == {"n": {"type": "MString"}}, what="the new signature")
    assert says(mist, n="text") == "text"


def loaded(mist):
    return [f["name"] for f in mist.get(FUNCTIONS).json() if "error" not in f]


def test_what_the_server_has_not_is_said_with_its_status_and_is_found_once_it_is_there(start, files):
    url = f"{files.url}/late.py"
    mist = start({"away": away(url), "away-too": away(files.put("/job.py", CODE % "too"))})
    assert f"{url}: the server answered 404" in mist.get(f"{FUNCTIONS}/away").json()["error"]
    answer = mist.post(f"{FUNCTIONS}/away/jobs", json={})
    assert answer.status_code == 400 and f"{url}: the server answered 404" in answer.json()["detail"]
    assert loaded(mist) == ["away-too"]
    files.put("/late.py", CODE % "late")
    until(lambda: "away" in loaded(mist), what="the function")
    assert says(mist) == "late"

    def accepted_without_a_file():
        files.put("/late.py", CODE % "late")
        until(lambda: "away" in loaded(mist), what="the function")
        says(mist)  # what is known of the function is new, or it would be asked for again
        del files.files["/late.py"]
        answer = mist.post(f"{FUNCTIONS}/away/jobs", json={})
        return answer.status_code == 200 and answer.json()["id"]

    job = mist.wait(until(accepted_without_a_file), "failed")
    assert job["jobResult"].endswith(f"{url}: the server answered 404 Not Found")


def test_its_life_is_told_with_the_download(start, files):
    mist = start({"away": away(files.put("/job.py", CODE % "one"))})
    job_id = mist.submit("away")
    mist.wait(job_id)
    says(mist)
    with mist.session.get(f"{mist.url}/v2/api/events", stream=True, timeout=60 * PATIENCE) as stream:
        until(lambda: "mist_subscribers 1" in mist.get("/metrics").text)
        mist.submit("away")
        events = []
        for line in stream.iter_lines(decode_unicode=True):
            if line.startswith("event: "):
                events.append(line[len("event: "):])
            if line == "event: finished":
                break
    assert events == ["initialized", "queued", "worker-assigned", "job-file-downloading", "started", "finished"]


def test_a_packed_artifact_over_http_is_changed_in_a_living_worker(start, files):
    def packed(word):
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as z:
            z.writestr("pkg/__init__.py", "")
            z.writestr("pkg/word.py", f"WORD = {word!r}\n")
            z.writestr("pkg/job.py", "from pkg.word import WORD\ndef f(): return {'says': WORD}\n")
        return data.getvalue()

    mist = start({"away": away(files.put("/dist/pkg.zip?version=1", packed("one")), "pkg.job.f")})
    assert says(mist) == "one"
    files.put("/dist/pkg.zip?version=1", packed("another"))
    assert says(mist) == "another"


def test_a_file_of_the_workers_machine(start, tmp_path):
    path = tmp_path / "a job.py"
    path.write_text(CODE % "one")
    mist = start({"away": away(path.as_uri()), "short": away(f"file:{path}"), "gone": away("file:///no/such/job.py")})
    assert says(mist) == says(mist, "short") == "one"
    path.write_text(CODE % "another")
    assert says(mist) == says(mist, "short") == "another"
    assert "no such file: /no/such/job.py" in mist.get(f"{FUNCTIONS}/gone").json()["error"]
    assert loaded(mist) == ["away", "short"]


def test_functions_over_http_are_made_and_updated_by_the_api_and_survive_a_restart(start, files):
    mist = start()
    url = files.put("/job.py", CODE % "one")
    assert mist.post(FUNCTIONS, json=config(url)).json()["path"] == url
    assert says(mist) == "one"
    second = files.put("/second.py", CODE % "second")
    assert mist.put(FUNCTIONS, json=config(second)).status_code == 200
    assert says(mist) == "second"
    refused = mist.put(FUNCTIONS, json=config(f"{files.url}/nothing.py"))
    assert refused.status_code == 400 and "404" in refused.json()["detail"]
    mist.restart()
    assert says(mist) == "second" and mist.get(f"{FUNCTIONS}/away").json()["path"] == second
    answer = mist.post("/v2/hidden/devrun?force=true", json={"fakeName": "dev", "path": url, "className": "f", "context": "plain", "parameters": {}})
    assert answer.json()["payload"]["says"] == "one"


@pytest.mark.parametrize("path", ["mvn://org:name:1.0", "ftp://h/job.py", "javascript:/x", "c:/job.py"])
def test_an_unknown_scheme_is_refused_and_path_named(start, path):
    mist = start()
    forms = [mist.post(FUNCTIONS, json=config(path)), mist.post(f"{FUNCTIONS}?force=true", json=config(path)),
             mist.post("/v2/hidden/devrun", json={"fakeName": "dev", "path": path, "className": "f", "context": "plain"})]
    for answer in forms:
        assert answer.status_code == 400 and answer.json()["detail"].startswith("path: ") and path[:20] in answer.json()["detail"]
    assert mist.get(FUNCTIONS).json() == []


def test_an_unknown_scheme_in_the_configuration_ends_the_start(start):
    with pytest.raises(Exception, match=r"functions.away.path: .*mvn://"):
        start({"away": away("mvn://org:name:1.0")})


def test_hadoops_schemes_need_a_context_with_spark(start):
    mist = start({"away": away("hdfs://nowhere/job.py")})
    assert "context whose runtime is a Spark" in mist.get(f"{FUNCTIONS}/away").json()["error"]
    assert loaded(mist) == []


@pytest.mark.spark
@pytest.mark.parametrize("mode", ["shared", "exclusive"])
def test_hadoops_client_of_the_context_reads_what_is_hadoops(start, tmp_path, mode):
    """viewfs is Hadoop's own; where its folders are is in the settings of the function's context only."""
    conf = {"spark.master": "local[1]", "spark.ui.enabled": "false", "spark.hadoop.fs.viewfs.mounttable.mist.link./code": tmp_path.as_uri()}
    contexts = {"hadoop": {"runtime": "default", "worker-mode": mode, "spark-conf": [f"{k}={v}" for k, v in conf.items()]}}
    path = tmp_path / "job.py"
    path.write_text(CODE % "one")
    mist = start({"away": away("viewfs://mist/code/job.py", context="hadoop"), "gone": away("viewfs://mist/code/no.py", context="hadoop")},
                 contexts=contexts)
    shown = mist.get(f"{FUNCTIONS}/away", timeout=120 * PATIENCE).json()
    assert shown["execute"] == {"n": {"type": "MOption", "args": [{"type": "MInt"}]}}, shown
    described = len(mist.worker_pids())
    assert says(mist) == "one" and described == 1
    path.write_text(CODE % "another")
    assert says(mist) == "another"
    gone = mist.get(f"{FUNCTIONS}/gone", timeout=120 * PATIENCE).json()
    assert "viewfs://mist/code/no.py cannot be fetched: java.io.FileNotFoundException" in gone["error"]
    if mode == "shared":
        assert len(mist.worker_pids()) == 1
