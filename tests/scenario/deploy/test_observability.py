# SPDX-License-Identifier: Apache-2.0
"""The alert rules, the dashboard and the table of metrics in deploy/ against what a gateway really tells that has done jobs over HTTP,
MQTT and Kafka."""
import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from support import gateways
from support.doors import three_doors
from support.mistd import until
from support.subscribers import metric

pytestmark = pytest.mark.release
DEPLOY = Path(__file__).parents[3] / "deploy"
OPENMETRICS = {"Accept": "application/openmetrics-text"}
# What Prometheus adds to each sample, and what it makes itself.
TARGET = {"instance", "job"}
OWN = {"up": TARGET}
# A place that exists only while a partition cannot be read: tests/scenario/kafka has one.
STUCK = {"mist_transport_stuck_offset": {"transport", "topic", "partition"}}

TOKEN = re.compile(r'\s+|(?P<text>"(?:[^"\\]|\\.)*")|(?P<range>\[[^\]]*\])|(?P<name>[A-Za-z_:][\w:]*)|(?P<number>\d[\w.]*)|(?P<op>[=!<>]=|[=!]~|.)')
# Labels that have the same few values everywhere: the page says which.
CLOSED = ("outcome", "kind", "event", "state", "level", "folder")
KEYWORDS = {"and", "or", "unless", "bool", "on", "ignoring", "group_left", "group_right", "offset"}
FUNCTIONS = {"sum", "rate", "increase", "deriv", "changes", "histogram_quantile", "predict_linear", "topk", "time", "label_values"}


@pytest.fixture(scope="module")
def told(shared_mosquitto, shared_kafka):
    """What a gateway tells that was used in every way."""
    made = []

    def make(**sections):
        made.append(gateways.c_workers(**sections))
        return made[-1]

    gateway, clients = three_doors(make, shared_mosquitto, shared_kafka, "observed", ["echo", "fail"])
    try:
        for client in clients.values():
            assert client.call("echo", {"text": "x"}).event == "finished"
            assert client.call("fail", {"message": "x"}).event == "failed"
        gateway.get("/nothing")
        until(lambda: all(metric(gateway, "mist_transport_deliveries_total", transport=name, outcome="delivered") for name in ("mqtt", "kafka")))
        until(lambda: metric(gateway, "mist_transport_lag_messages", topic="observed.f.echo") == 0)
        yield list(text_string_to_metric_families(gateway.get("/metrics", headers=OPENMETRICS).text))
    finally:
        for one in made:
            one.close()


def labels_told(told):
    """Name of a sample → label → values."""
    found = {name: {label: None for label in labels} for name, labels in (OWN | STUCK).items()}
    for family in told:
        for sample in family.samples:
            known = found.setdefault(sample.name, {label: None for label in TARGET})
            for label, value in sample.labels.items():
                known.setdefault(label, set()).add(value)
    return found


class Expression:
    """Of PromQL what our rules use: which metrics, with which labels, and by what they are summed up."""

    def __init__(self, text):
        self.tokens = [m for m in TOKEN.finditer(text) if m.lastgroup]
        assert "".join(m[0] for m in TOKEN.finditer(text)) == text
        self.at, self.metrics, self.by = 0, [], []
        depth = 0
        while self.at < len(self.tokens):
            token = self.next()
            depth += {"(": 1, ")": -1}.get(token[0], 0)
            assert depth >= 0, text
            if token.lastgroup == "name":
                self.take_name(token[0])
        assert depth == 0 and self.metrics, text

    def next(self):
        self.at += 1
        return self.tokens[self.at - 1]

    def peek(self):
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def take_name(self, name):
        if name == "by":
            assert self.next()[0] == "("
            self.by.append(self.take_list(")"))
        elif self.peek() == "(" or (name == "sum" and self.peek() == "by"):
            assert name in FUNCTIONS | KEYWORDS, f"{name} is no function that is known here"
        elif name not in KEYWORDS:
            self.metrics.append((name, self.take_selector()))

    def take_list(self, end):
        names = []
        while (token := self.next())[0] != end:
            names += [token[0]] if token.lastgroup == "name" else []
        return names

    def take_selector(self):
        selected = []
        if self.peek() == "{":
            self.next()
            while (token := self.next())[0] != "}":
                if token.lastgroup == "name":
                    selected.append((token[0], self.next()[0], json.loads(self.next()[0])))
        return selected


def check_expression(text, known):
    e = Expression(text)
    for name, selected in e.metrics:
        assert name in known, f"{text}: there is no metric {name}"
        for label, op, value in selected:
            assert label in known[name], f"{text}: {name} has no label {label}"
            values = known[name][label]
            if op == "=" and values and label != "status":
                assert value in values, f"{text}: {label} of {name} is one of {sorted(values)}"
    for label in {label for labels in e.by for label in labels}:
        assert all(label in known[name] for name, _ in e.metrics), f"{text}: {label} is no label of all of {e.metrics}"
    return e


def rules():
    groups = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_alerts_ask_for_what_there_is(told):
    known = labels_told(told)
    assert len({rule["alert"] for rule in rules()}) == len(rules()) > 10
    for rule in rules():
        e = check_expression(rule["expr"], known)
        left = set(e.by[0]) - {"le"} if e.by else set.intersection(*(set(known[name]) for name, _ in e.metrics))
        assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= left, rule
        assert rule["labels"]["severity"] in ("warning", "critical") and rule["annotations"]["summary"].endswith(".")


def test_the_dashboard_asks_for_what_there_is(told):
    known = labels_told(told)
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    variables = {v["name"] for v in dashboard["templating"]["list"]}
    panels = [p for p in dashboard["panels"] if p["type"] != "row"]
    for v in dashboard["templating"]["list"]:
        if v["type"] == "query":
            name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", v["definition"]).groups()
            assert label in known[name]
    # "All" is the gateways there are, since metrics of a process have the same names in whatever else is scraped.
    assert [v.get("allValue") for v in dashboard["templating"]["list"] if v["name"] == "instance"] == [None]
    shown = set()
    for panel in panels:
        for target in panel["targets"]:
            text = target["expr"].replace("$__rate_interval", "1m")
            assert 'instance=~"$instance"' in text, text
            assert set(re.findall(r"\$(\w+)", text)) <= variables
            e = check_expression(text, known)
            left = set(e.by[0]) - {"le"} if e.by else {label for name, _ in e.metrics for label in known[name]}
            left = set() if text.startswith("sum(") else left
            legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert legend <= left and ("instance" in legend or "instance" not in left), f"{text}: two gateways would look alike"
            shown |= {name for name, _ in e.metrics}
    assert len({p["id"] for p in dashboard["panels"]}) == len(dashboard["panels"])
    families = {f.name for f in told}
    missing = {f for f in families if not any(name.startswith(f) for name in shown)} - {"mist_transport_stuck_offset"}
    assert not missing, "metrics that are on no panel"
    for p, q in zip(panels, panels[1:]):
        assert (p["gridPos"]["y"], p["gridPos"]["x"]) < (q["gridPos"]["y"], q["gridPos"]["x"])


def table(told):
    """deploy/metrics.md's, as it is to be."""
    for family in told:
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        labels = {label for sample in family.samples for label in sample.labels if label != "le"} | STUCK.get(family.name, set())
        yield f"| `{family.name}{suffix}` | {family.type} | {', '.join(f'`{label}`' for label in sorted(labels))} | {family.documentation} |"


def test_the_page_names_the_values_of_labels(told):
    page = (DEPLOY / "metrics.md").read_text()
    for label in CLOSED:
        item = re.search(rf"^- `{label}`.*?:((?:.|\n  )*)", page, re.MULTILINE)
        there = {sample.labels[label] for family in told for sample in family.samples if label in sample.labels}
        assert there and set(re.findall(r"`([\w-]+)`", item[1])) == there, label


def test_the_table_of_metrics_is_what_is_told(told):
    written = [line for line in (DEPLOY / "metrics.md").read_text().splitlines() if line.startswith("| `")]
    expected = list(table(told))
    assert written == expected, "the table as it is to be:\n" + "\n".join(expected)
