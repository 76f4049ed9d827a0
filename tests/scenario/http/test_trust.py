# SPDX-License-Identifier: Apache-2.0
"""What the README says of trust, under "Who may do what", is so."""
import requests

from support.mistd import PATIENCE

REACHES = b"""
import os, sqlite3
import mist

@mist.function
def leave(ctx, path: str):
    with open(path, "w") as f:
        f.write("mine")
    return os.getuid()

@mist.function
def reach(ctx, path: str, database: str):
    with open(path) as f:
        text = f.read()
    os.unlink(path)
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as db:
        jobs = db.execute("SELECT COUNT(*) FROM job").fetchone()[0]
    return [os.getuid(), text, jobs > 0]
"""


def test_who_reaches_the_api_runs_any_code_as_the_gateway_and_jobs_reach_each_other(plain_mist, tmp_path):
    mist = plain_mist(contexts={"one": {"runtime": "plain"}, "other": {"runtime": "plain"}})
    assert requests.post(mist.url + "/v2/api/artifacts", files={"file": ("reaches.py", REACHES)}, timeout=60 * PATIENCE).status_code == 200

    def run(name, context, **parameters):
        answer = mist.post("/v2/hidden/devrun?force=true", json={"fakeName": name, "path": "reaches.py", "className": name,
                                                                 "context": context, "parameters": parameters}).json()
        assert answer["success"], answer
        return answer["payload"]

    left = tmp_path / "left"
    user = (mist.data / "mist.db").stat().st_uid
    assert run("leave", "one", path=str(left)) == user
    assert run("reach", "other", path=str(left), database=str(mist.data / "mist.db")) == [user, "mine", True]
    assert not left.exists()
