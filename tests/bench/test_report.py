"""Medians, spread and ratios; a peer that is missing is told."""

import json
import re
from pathlib import Path

from bench.report import Report, Summary, cell, ratio, summary
from bench.servers import Contender, Running
from bench.workloads import QUICK


def _start(folder: Path) -> Running:
    raise NotImplementedError


OURS = Contender("digestry", "1.0", "durable", _start)
PEER = Contender("peer", "2.0", "careless", _start)
FIGURES = {
    "get-manifest": {"digestry": [1000.0, 3000.0, 2000.0], "peer": [500.0, 400.0, 9000.0]},
    "memory-idle": {"digestry": [80.0], "peer": [40.0]},
}


def _report(**changes: object) -> Report:
    parts = {"scale": QUICK, "machine": "here", "contenders": [OURS, PEER], "missing": {}, "figures": FIGURES}
    return Report(**{**parts, **changes})  # type: ignore[arg-type]


def test_summary() -> None:
    assert summary([3.0, 1.0, 2.0, 10.0]) == Summary(2.5, 1.0, 10.0)


def test_ratio_is_of_the_medians() -> None:
    assert ratio([1.0, 2.0, 300.0], [8.0, 4.0, 1.0]) == 0.5


def test_cell() -> None:
    assert cell([1234.4, 1000.0, 5000.0], "/s") == "1,234/s (1,000-5,000)"


def test_table() -> None:
    table = [re.split(r" {2,}", line) for line in _report().text().splitlines()[-3:]]
    assert table == [
        ["median (lowest-highest)", "digestry", "peer", "ratio"],
        ["GET manifest by tag, 32 connections", "2,000/s (1,000-3,000)", "500/s (400-9,000)", "4.00"],
        ["memory (PSS), idle", "80 MiB (80-80)", "40 MiB (40-40)", "2.00 (less is better)"],
    ]


def test_versions_and_settings_are_told() -> None:
    lines = _report().text().splitlines()
    assert "digestry 1.0: durable" in lines
    assert "peer 2.0: careless" in lines


def test_a_missing_peer_is_told() -> None:
    figures = {"memory-idle": {"digestry": [80.0]}}
    report = _report(contenders=[OURS], missing={"peer": "no go"}, figures=figures)
    lines = report.text().splitlines()
    assert "peer: MISSING, no go" in lines
    assert lines[-2].split()[-2:] == ["peer", "ratio"]
    assert lines[-1].split()[-2:] == ["missing", "-"]
    assert report.document()["missing"] == {"peer": "no go"}


def test_document_keeps_every_figure() -> None:
    document = json.loads(json.dumps(_report().document()))
    assert document["workloads"]["get-manifest"] == {
        "about": "GET manifest by tag, 32 connections",
        "unit": "/s",
        "higher_is_better": True,
        "values": FIGURES["get-manifest"],
        "medians": {"digestry": 2000.0, "peer": 500.0},
        "ratios": {"peer": 4.0},
    }
    assert document["contenders"]["peer"] == {"version": "2.0", "settings": "careless"}
