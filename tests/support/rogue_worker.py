# SPDX-License-Identifier: Apache-2.0
"""A worker that breaks the protocol once, notes how the gateway took it, and behaves from then on.

rogue_worker.py MODE FILE: the close code and the reason of the `error` frame go to FILE, as JSON.
rogue_worker.py every FILE: sends every frame with every member as it must not be, each on a connection of its own; what the
gateway answered goes to FILE, a line each."""

import json
import os
import sys
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

TIMEOUT = 120


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
        "oversized": [b"\x81\xff" + (3_000_000).to_bytes(8, "big") + bytes(4) + b"x"],
    }.get(mode)


def after_hello(mode, job):
    return {
        "hello-twice": [hello()],
        "finished-before-started": [json.dumps({"type": "finished", "job": job, "at": now(), "result": 1})],
        "started-twice": [json.dumps({"type": "started", "job": job, "at": now()})] * 2,
        "bad-level": [json.dumps({"type": "log", "job": job, "entries": [{"at": 1, "level": "LOUD", "message": "x"}]})],
        "bad-progress": [json.dumps({"type": "progress", "job": job, "value": 7})],
        "bad-progress-of-a-long-name": [json.dumps({"type": "progress", "job": "a" + "é" * 60, "value": 7}, ensure_ascii=False)],
        "too-many-entries": [json.dumps({"type": "log", "job": job, "entries": [{"at": 1, "level": "INFO", "message": ""}] * 1001})],
    }[mode]


ODD = ["null", "true", "-1", "0", "7", "1.5", "1e999", str(2 ** 63), str(-2 ** 63), '""', '"x"', "[]", "{}", '[null]', '[[1]]', '[{}]',
       '"\\u0000"', '"\\ud800"', '"\\u001b[31m\\u202e"', '"' + "x" * 100_000 + '"',
       *(json.dumps("a" * n + "é" * 400, ensure_ascii=False) for n in (0, 1)), *('["' + "a" * n + "é" * 40 + '"]' for n in (0, 1)),
       '{"lang": "c", "tags": [], "execute": {"é": {"type": "M' + "é" * 400 + '"}}}',
       '[{"at": 1, "level": "' + "é" * 400 + '", "message": "x"}]', '[{"at": 9223372036854775807, "level": "INFO", "message": "x"}]',
       '[{"at": -1, "level": "ERROR", "message": "\\u001b[2J\\n' + "é" * 700_000 + '"}]']


def every_frame():
    """Of each frame of a worker: each member in every odd way, and left out."""
    good = {"protocol": "1", "capacity": "1", "resumes": "[]", "job": '"JOB"', "at": str(now()), "entries": "[]", "value": "0.5",
            "result": "1", "error": '"x"', "id": '"x"', "reason": '"x"'}
    with open(os.path.join(os.environ["MIST_PROTO"], "frames.json")) as f:
        book = json.load(f)["frames"]
    for name, frame in book.items():
        if frame["from"] == "gateway":
            continue
        required = {m: good[m] for m, kind in frame["members"].items() if not kind.endswith("?")}
        for member in frame["members"]:
            for odd in [*ODD, None]:
                members = {**required, member: odd}
                yield "{" + ",".join([f'"type":"{name}"', *(f'"{m}":{v}' for m, v in members.items() if v is not None)]) + "}"
        yield json.dumps({"type": "x" + "é" * 40}, ensure_ascii=False)


def every(note):
    """What it holds at the end. Workers that are started beside it, while it is away, wait until then."""
    try:
        f = open(note, "x")
    except FileExistsError:
        while not open(note).read().endswith('"the end"\n'):
            time.sleep(0.05)
        return []
    with f:
        job = None
        for frame in every_frame():
            is_hello = frame.startswith('{"type":"hello"')
            with session() as ws:
                reason, code = None, None
                try:
                    if not is_hello:
                        f.flush()
                        ws.send(hello(resumes=[job] if job else []))
                        welcome = json.loads(ws.recv(timeout=TIMEOUT))
                        job = None if job in welcome["forget"] else job
                        job = job or next_job(ws)
                    ws.send(frame.replace("JOB", job or ""))
                    ws.send('{"type": "surprise"}')
                    while True:
                        answer = json.loads(ws.recv(timeout=TIMEOUT))
                        if answer["type"] == "start":
                            job = answer["job"]
                        if answer["type"] == "error":
                            reason = answer["reason"]
                except ConnectionClosed as closed:
                    code = closed.rcvd.code if closed.rcvd else None
            f.write(json.dumps([frame[:200], code, reason]) + "\n")
        f.write('"the end"\n')
    return [job] if job else []


def session():
    with open(os.environ["MIST_WORKER_FILE"]) as f:
        file = json.load(f)
    return connect(f"{file['url']}?worker={file['worker']}", additional_headers={"Authorization": "Bearer " + file["secret"]},
                   compression=None, max_size=None, open_timeout=TIMEOUT)


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
                if mode == "oversized":  # the beginning of a frame is enough, and what came behind it might keep the answer from arriving
                    ws.socket.sendall(frame)
                else:
                    ws.send(frame)
            while True:
                frame = json.loads(ws.recv(timeout=TIMEOUT))
                if frame["type"] == "error":
                    reason = frame["reason"]
        except ConnectionClosed as closed:
            with open(note, "w") as f:
                json.dump({"code": closed.rcvd.code if closed.rcvd else None, "reason": reason}, f)
    return held


def behave(held):
    with session() as ws:
        ws.send(hello(resumes=held))
        held = [job for job in held if job not in json.loads(ws.recv())["forget"]]
        while True:
            job = held.pop() if held else next_job(ws)
            ws.send(json.dumps({"type": "started", "job": job, "at": now()}))
            ws.send(json.dumps({"type": "finished", "job": job, "at": now(), "result": "well behaved"}))


def always():
    """Breaks the protocol on every connection."""
    while True:
        with session() as ws:
            ws.send(hello())
            ws.send('{"type": "surprise"}')
            try:
                while True:
                    ws.recv()
            except ConnectionClosed:
                pass


def flood(note):
    """Pings, and reads nothing."""
    with session() as ws:
        ws.send(hello())
        ping = b"\x89\x80\x00\x00\x00\x00"
        try:
            for _ in range(2000):
                ws.socket.sendall(ping * 1000)
        except OSError:
            pass
    open(note, "w").close()


def large(text, count):
    """Every job's result is `text`, count times and once more, in a list."""
    result = "[" + (text + ",") * int(count) + text + "]"
    with session() as ws:
        ws.send(hello())
        while True:
            job = next_job(ws)
            ws.send(json.dumps({"type": "started", "job": job, "at": now()}))
            ws.send(f'{{"type":"finished","job":"{job}","at":{now()},"result":{result}}}')


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
        elif sys.argv[1] == "always":
            always()
        elif sys.argv[1] == "flood" and not os.path.exists(sys.argv[2]):
            flood(sys.argv[2])
            behave([])
        elif sys.argv[1] == "flood":
            behave([])
        elif sys.argv[1] == "large":
            large(*sys.argv[2:])
        else:
            behave(every(sys.argv[2]) if sys.argv[1] == "every" else misbehave(sys.argv[1], sys.argv[2]))
    except ConnectionClosed:
        pass
