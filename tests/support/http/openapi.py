# SPDX-License-Identifier: Apache-2.0
"""Answers of a gateway against what proto/openapi.yaml says of them: status, headers, type and schema of the body. Every answer that a
test gets through Mistd's session is looked at."""
import functools
import json
import re
from pathlib import Path

import jsonschema_rs
import yaml

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
LARGEST = 1 << 20  # bytes of a body that is looked at, for the sake of time
# Headers of ours: where one comes, the document says so.
OURS = ("ETag", "Location", "Mist-Ignored", "Preference-Applied", "Retry-After", "Content-Range", "Accept-Ranges", "Last-Modified")
OTHER_PROTOCOL = "/v2/workers/connect"


@functools.cache
def document():
    path = Path(__file__).resolve().parents[3] / "proto" / "openapi.yaml"
    return yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def resolved(node):
    """What a reference leads to."""
    while "$ref" in node:
        place = document()
        for part in node["$ref"].removeprefix("#/").split("/"):
            place = place[part.replace("~1", "/").replace("~0", "~")]
        node = place
    return node


def operations():
    for path, item in document()["paths"].items():
        for method in METHODS:
            if method in item:
                yield method.upper(), path, item[method]


@functools.cache
def _patterns():
    """The most literal ones first."""
    def pattern(path):
        return re.compile("".join(".*" if part == "{path}" else "[^/]+" if part.startswith("{") else re.escape(part)
                                  for part in re.split(r"(\{\w+\})", path)))
    return [(pattern(path), path) for path in sorted(document()["paths"], key=lambda path: path.count("{"))]


@functools.cache
def _validator(schema):
    """Inside of the document, so that references find their place."""
    whole = {"components": {"schemas": document()["components"]["schemas"]}, "allOf": [json.loads(schema)]}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


def check_schema(schema, value, what=""):
    error = next(_validator(json.dumps(schema)).iter_errors(value), None)
    assert error is None, f"{what}{error.message} at {error.instance_path} of {str(value)[:2000]}"


def check_event(text):
    """One event of a stream or a WebSocket; its kind."""
    event = json.loads(text)
    check_schema({"$ref": "#/components/schemas/Event"}, event)
    return event["event"]


def events_in(text):
    """Those of a stream of Server-Sent Events, as dicts of their fields."""
    blocks = (dict(re.findall(r"^(\w+): (.*)$", block, re.MULTILINE)) for block in text.split("\n\n"))
    return [block for block in blocks if "data" in block]


def _path_of(target):
    return next((path for pattern, path in _patterns() if pattern.fullmatch(target)), None)


@functools.cache
def _of_any():
    """What any request may get; said of every operation, and so of this one that has no other refusals."""
    return {status for status in document()["paths"]["/"]["get"]["responses"] if status >= "400"}


def _check_headers(headers, said, what):
    documented = said.get("headers", {})
    for name in OURS:
        assert name in documented or name.lower() not in headers, f"{what} has {name}, of which the document says nothing"
    for name, header in documented.items():
        header, value = resolved(header), headers.get(name.lower())
        if value is None:
            assert not header.get("required"), f"{what} has no {name}"
        else:
            is_number = header["schema"].get("type") == "integer"
            check_schema(header["schema"], int(value) if is_number else value, f"{what}, {name}: ")


def _check_body(headers, body, said, what):
    kind = headers.get("content-type", "").split(";")[0]
    if "content" not in said:
        assert body == b"", f"{what} has a body: {body[:500]!r}"
        return
    content = said["content"].get(kind, said["content"].get("*/*"))
    assert content is not None, f"{what} is of type {kind}: {body[:500]!r}"
    if kind == "text/event-stream":
        for event in events_in(body.decode()):
            check_schema({"$ref": "#/components/schemas/ServerSentEvent"}, event, what + ": ")
            check_event(event["data"])
    elif "schema" in content and content["schema"].get("format") != "binary":
        value = json.loads(body) if kind.endswith("json") else body.decode()
        check_schema(content["schema"], value, what + ": ")
        if kind == "application/problem+json" and "requestId" in value:
            assert value["requestId"] == headers.get("x-request-id"), what


def check_answer(method, target, status, headers, body):
    """`headers`: by their names in small letters. `body`: None if it is not to be looked at."""
    path = _path_of(target.split("?")[0])
    item = document()["paths"].get(path, {})
    operation = item.get("get" if method == "HEAD" else method.lower())
    what = f"{method} {target[:200]} ({status})"
    if path is None and target.startswith(OTHER_PROTOCOL) or method == "OPTIONS":
        return
    if operation:
        said = operation["responses"].get(str(status))
    else:  # whatever is not there, or has no such method
        said = {"$ref": "#/components/responses/NotFound"} if status in (404, 405) or str(status) in _of_any() else None
        said = document()["paths"]["/"]["get"]["responses"].get(str(status), said)
    assert said is not None, f"{what} is not in the document: {(body or b'')[:500]!r}"
    said = resolved(said)
    _check_headers(headers, said, what)
    if method != "HEAD" and body is not None:
        _check_body(headers, body, said, what)


def check(answer, is_streamed=False):
    """An answer that `requests` got; the same answer. `is_streamed`: its body is left to be read."""
    body = None if is_streamed else answer.content
    if body is not None and len(body) > LARGEST:
        body = None
    check_answer(answer.request.method, "/" + answer.url.split("/", 3)[3], answer.status_code,
                 {name.lower(): value for name, value in answer.headers.items()}, body)
    return answer
