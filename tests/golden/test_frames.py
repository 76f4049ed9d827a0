# SPDX-License-Identifier: Apache-2.0
"""The samples of proto/golden against mist.frames: what C's and Java's tests load too."""

import json
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, os.path.join(ROOT, "src", "runner", "python"))

from mist import frames  # noqa: E402

GOLDEN = ROOT / "proto" / "golden"
GOOD = sorted(GOLDEN.glob("*.json"))
BAD = sorted((GOLDEN / "bad").glob("*.json"))


def sample(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", GOOD, ids=lambda p: p.stem)
def test_a_good_frame_is_taken_and_survives_a_round_trip(path):
    golden = sample(path)
    assert golden["frame"]["type"] == path.stem.split("-")[0]
    assert frames.parse(frames.text(golden["frame"]), golden["from"]) == golden["frame"]


@pytest.mark.parametrize("path", BAD, ids=lambda p: p.stem)
def test_a_bad_frame_is_refused_with_a_sentence(path):
    golden = sample(path)
    text = golden["text"] if "text" in golden else json.dumps(golden["frame"])
    with pytest.raises(frames.ProtocolError) as refusal:
        frames.parse(text, golden["from"])
    assert "frame" in str(refusal.value) or "may not send" in str(refusal.value)
    assert golden["why"]


def test_every_frame_has_a_sample_from_each_side_that_may_send_it():
    shown = {(sample(path)["frame"]["type"], sample(path)["from"]) for path in GOOD}
    expected = set()
    for name, frame in frames.book()["frames"].items():
        senders = ("worker", "gateway") if frame["from"] == "either" else (frame["from"],)
        expected.update((name, sender) for sender in senders)
    assert shown == expected


def test_every_required_member_is_missed():
    for path in GOOD:
        golden = sample(path)
        for name, kind in frames.book()["frames"][golden["frame"]["type"]]["members"].items():
            less = {k: v for k, v in golden["frame"].items() if k != name}
            if kind.endswith("?"):
                frames.check(less, golden["from"])
            else:
                with pytest.raises(frames.ProtocolError, match=f"member {name}: .*got nothing"):
                    frames.check(less, golden["from"])


def test_a_binary_message_is_refused():
    with pytest.raises(frames.ProtocolError, match="binary"):
        frames.parse(b'{"type":"ping"}', "gateway")


def test_a_message_nested_without_end_is_refused():
    with pytest.raises(frames.ProtocolError):
        frames.parse("[" * 200000, "gateway")
