# SPDX-License-Identifier: Apache-2.0
"""A worker that breaks the protocol once, notes how the gateway took it, and behaves from then on.

rogue_worker.py MODE FILE: the close code and the reason of the `error` frame go to FILE, as JSON."""

import json
import os
import sys
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def hello(**changes):
    return json.dumps({"type": "hello", "protocol": 1, "capacity": 1, "resumes": [], **changes})


def now():
    return int(time.time() * 1000)


def before_hello(mode):
    return {
        "no-hello-first": ['{"type": "pong"}'],
        "not-json": ["this is not JSON"],
        "not-an-object": ["[1, 2]"],
        "binary": [b"\x00\x01"],
        "unknown-type": ['{"type": "surprise"}'],
        "wrong-direction": ['{"type": "welcome", "protocol": 1, "heartbeat": 1, "maxFrame": 1, "forget": []}'],
        "missing-member": ['{"type": "hello", "protocol": 1}'],
        "wrong-kind": [hello(capacity="many")],
        "wrong-version": [hello(protocol=99)],
        "too-deep": ["[" * 100000],
        "oversized": [hello(lang="x" * 3_000_000)],
    }.get(mode)


def after_hello(mode, job):
    return {
        "hello-twice": [hello()],
        "finished-before-started": [json.dumps({"type": "finished", "job": job, "at": now(), "result": 1})],
        "started-twice": [json.dumps({"type": "started", "job": job, "at": now()})] * 2,
        "bad-level": [json.dumps({"type": "log", "job": job, "entries": [{"at": 1, "level": "LOUD", "message": "x"}]})],
        "bad-progress": [json.dumps({"type": "progress", "job": job, "value": 7})],
    }[mode]


def session():
    with open(os.environ["MIST_WORKER_FILE"]) as f:
        file = json.load(f)
    return connect(f"{file['url']}?worker={file['worker']}", additional_headers={"Authorization": "Bearer " + file["secret"]},
                   compression=None, max_size=None)


def next_job(ws):
    while True:
        frame = json.loads(ws.recv())
        if frame["type"] == "start":
            return frame["job"]
        if frame["type"] == "ping":
            ws.send('{"type": "pong"}')
        if frame["type"] == "drain":
            ws.send('{"type": "bye"}')
            sys.exit()


def misbehave(mode, note):
    held = []
    with session() as ws:
        reason = None
        try:
            frames = before_hello(mode)
            if frames is None:
                ws.send(hello())
                held.append(next_job(ws))
                frames = after_hello(mode, held[0])
            for frame in frames:
                ws.send(frame)
            while True:
                frame = json.loads(ws.recv(timeout=20))
                if frame["type"] == "error":
                    reason = frame["reason"]
        except ConnectionClosed as closed:
            with open(note, "w") as f:
                json.dump({"code": closed.rcvd.code if closed.rcvd else None, "reason": reason}, f)
    return held


def behave(held):
    with session() as ws:
        ws.send(hello(resumes=held))
        while True:
            job = held.pop() if held else next_job(ws)
            ws.send(json.dumps({"type": "started", "job": job, "at": now()}))
            ws.send(json.dumps({"type": "finished", "job": job, "at": now(), "result": "well behaved"}))


def describe():
    with session() as ws:
        ws.send(hello())
        while True:
            frame = json.loads(ws.recv())
            if frame["type"] == "describe":
                ws.send(json.dumps({"type": "described", "id": frame["id"], "signature": {"lang": "c", "execute": {}, "tags": []}}))
            elif frame["type"] == "ping":
                ws.send('{"type": "pong"}')
            elif frame["type"] == "drain":
                ws.send('{"type": "bye"}')
                return


if __name__ == "__main__":
    try:
        with open(os.environ["MIST_WORKER_FILE"]) as f:
            is_describer = json.load(f)["describer"]
        if is_describer:
            describe()
        else:
            behave(misbehave(sys.argv[1], sys.argv[2]))
    except ConnectionClosed:
        pass
