# SPDX-License-Identifier: Apache-2.0
"""What a browser sees: the small page at /, the files of the web page under /ui/; and the program of JVM workers."""
import re
import socket

import pytest

FILES = {"index.html": b"<!doctype html><title>the web page</title>", "app.js": b"let x = 1;\n", "assets/style.css": b"body {}\n",
         "assets/logo.svg": b"<svg/>", "data.bin": bytes(range(200)), ".secret": b"hidden", "assets/.git/config": b"hidden"}


@pytest.fixture
def folder(tmp_path):
    ui = tmp_path / "ui"
    for name, content in FILES.items():
        (ui / name).parent.mkdir(parents=True, exist_ok=True)
        (ui / name).write_bytes(content)
    (tmp_path / "outside.txt").write_text("outside")
    return ui


@pytest.fixture
def gateway(plain_mist, folder):
    return plain_mist(http={"ui": str(folder)})


def raw(gateway, target):
    """A GET of exactly this target, as no library would send it: (status, body)."""
    with socket.create_connection((gateway.host, gateway.port)) as s:
        s.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: s.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def test_the_root_says_what_runs_here_and_where_to_go(plain_mist):
    gateway = plain_mist()
    r = gateway.get("/")
    status = gateway.get("/v2/api/status").json()
    assert r.status_code == 200 and r.headers["Content-Type"] == "text/html; charset=UTF-8"
    assert f"Mist {status['mistVersion']}" in r.text and status["started"] in r.text
    links = re.findall(r'href="([^"]*)"', r.text)
    assert len(links) > 6 and {"/v2/api/status", "/v2/api/openapi.json", "/v2/api/functions"} < set(links) and "/ui/" not in links
    assert {link: gateway.get(link).status_code for link in links} == {link: 200 for link in links}
    head = gateway.request("HEAD", "/")
    assert head.status_code == 200 and head.headers["Content-Length"] == str(len(r.content))


def test_the_root_leads_to_the_web_page_where_there_is_one(gateway):
    assert 'href="/ui/"' in gateway.get("/").text and gateway.get("/ui/").content == FILES["index.html"]


def test_ui_is_sent_on_to_its_folder(gateway):
    r = gateway.get("/ui", allow_redirects=False)
    assert (r.status_code, r.headers["Location"]) == (308, "/ui/")
    assert gateway.get("/ui").content == FILES["index.html"]
    assert gateway.post("/ui").status_code == 405 and gateway.post("/ui/x").status_code == 405


@pytest.mark.parametrize("path,file,content_type", [
    ("", "index.html", "text/html"), ("index.html", "index.html", "text/html"), ("app.js", "app.js", "text/javascript"),
    ("assets/style.css", "assets/style.css", "text/css"), ("assets/logo.svg", "assets/logo.svg", "image/svg+xml"),
    ("data.bin", "data.bin", "application/octet-stream"), ("%61pp.js", "app.js", "text/javascript"),
    ("app.js?v=1", "app.js", "text/javascript"),
    ("jobs/overview", "index.html", "text/html"), ("assets", "index.html", "text/html"), ("app.js/x", "index.html", "text/html"),
    ("functions/a..b", "index.html", "text/html"), ("x" * 300, "index.html", "text/html"),
])
def test_a_file_or_the_page_that_finds_its_own_way(gateway, path, file, content_type):
    r = gateway.get("/ui/" + path)
    assert (r.status_code, r.content) == (200, FILES[file])
    assert r.headers["Content-Type"].split(";")[0] == content_type


def test_files_have_tags_and_ranges(gateway):
    tag = gateway.get("/ui/data.bin").headers["ETag"]
    assert gateway.get("/ui/data.bin", headers={"If-None-Match": f'"x", {tag}'}).status_code == 304
    r = gateway.get("/ui/data.bin", headers={"Range": "bytes=10-19"})
    assert r.status_code == 206 and r.content == FILES["data.bin"][10:20]


@pytest.mark.parametrize("target", [
    b"/ui/../outside.txt", b"/ui/assets/../../outside.txt", b"/ui/%2e%2e/outside.txt", b"/ui/..%2Foutside.txt",
    b"/ui/%2e%2e%2foutside.txt", b"/ui//etc/passwd", b"/ui/%2Fetc%2Fpasswd", b"/ui/.secret", b"/ui/%2esecret",
    b"/ui/assets/.git/config", b"/ui/./app.js", b"/ui/assets//style.css", b"/ui/assets/..", b"/ui/.", b"/ui/app.js%00.html",
    b"/ui/out/outside.txt", b"/ui/link.txt", b"/ui/absolute.txt",
])
def test_no_way_leads_out_of_the_folder(gateway, folder, target):
    (folder / "out").symlink_to("..")
    (folder / "link.txt").symlink_to("../outside.txt")
    (folder / "absolute.txt").symlink_to(folder.parent / "outside.txt")
    status, body = raw(gateway, target)
    assert b"outside" != body and b"hidden" not in body and b"root:" not in body
    assert status == 404 or body == FILES["index.html"]


def test_a_link_within_the_folder_is_followed(gateway, folder):
    (folder / "current.js").symlink_to("app.js")
    assert gateway.get("/ui/current.js").content == FILES["app.js"]


def test_without_a_folder_a_sentence_says_so(plain_mist, tmp_path):
    r = plain_mist().get("/ui/")
    assert r.status_code == 404 and "http.ui" in r.json()["detail"]
    r = plain_mist(http={"ui": str(tmp_path / "none")}).get("/ui/jobs")
    assert r.status_code == 404 and "http.ui" in r.json()["detail"]


def test_the_jvm_runner_is_there_when_it_is_installed(plain_mist):
    r = plain_mist().get("/v2/api/artifacts_internal/mist-worker.jar")
    if r.status_code == 200:
        assert r.content.startswith(b"PK") and r.headers["Content-Type"] == "application/java-archive"
    else:
        assert r.status_code == 404 and "mist-worker.jar" in r.json()["detail"]
