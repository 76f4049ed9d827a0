# SPDX-License-Identifier: Apache-2.0
"""What src/runner/python/README.md says of libraries that are added to the environment of workers that run."""
import sys

from support.mistd import runtimes


def test_a_library_that_is_added_is_found_and_one_that_is_replaced_by_a_new_worker(plain_mist, tmp_path):
    site, artifact = tmp_path / "site", tmp_path / "uses.py"
    site.mkdir()
    artifact.write_text("import library\n\ndef uses():\n    return library.VERSION\n")
    science = {"kind": "python", "python": sys.executable, "environment": {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}}
    gateway = plain_mist(runtimes={**runtimes(), "science": science},
                         contexts={"science": {"runtime": "science", "worker-mode": "shared"}},
                         functions={"uses": {"path": str(artifact), "class-name": "uses", "context": "science"}})
    refused = gateway.post("/v2/api/functions/uses/jobs", json={})
    assert refused.status_code == 400 and "No module named 'library'" in refused.json()["detail"]
    (site / "library.py").write_text("VERSION = 1\n")
    gateway.until(lambda: "error" not in gateway.get("/v2/api/functions/uses").json())
    assert gateway.run("uses")["payload"] == 1
    (site / "library.py").write_text("VERSION = 2\n")
    assert gateway.run("uses")["payload"] == 1
    workers = [worker["name"] for worker in gateway.get("/v2/api/workers").json()]
    for worker in workers:
        assert gateway.delete(f"/v2/api/workers/{worker}").status_code == 200
    assert gateway.run("uses")["payload"] == 2
