"""Figures as medians with their spread, beside each other."""

import os
import platform
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.servers import Contender
from bench.workloads import WORKLOADS, Scale

# One workload's figures by the name of who made them
Figures = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Summary:
    median: float
    low: float
    high: float


def summary(values: Sequence[float]) -> Summary:
    return Summary(statistics.median(values), min(values), max(values))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Of the medians."""
    return statistics.median(ours) / statistics.median(theirs)


@dataclass(frozen=True)
class Report:
    """All of one run. The first contender is ours; ratios are ours over a peer's."""

    scale: Scale
    machine: str
    contenders: Sequence[Contender]
    missing: Mapping[str, str]
    figures: Mapping[str, Figures]

    def text(self) -> str:
        lines = [
            self.machine,
            f"rounds: {self.scale.rounds}, wrk: {self.scale.seconds} s, a fresh server for each figure",
            "",
        ]
        lines += [f"{one.name} {one.version}: {one.settings}" for one in self.contenders]
        lines += [f"{name}: MISSING, {reason}" for name, reason in self.missing.items()]
        return "\n".join([*lines, "", *self._table()])

    def document(self) -> dict[str, Any]:
        """The same for machines."""
        return {
            "machine": self.machine,
            "scale": {"rounds": self.scale.rounds, "seconds": self.scale.seconds},
            "contenders": {one.name: {"version": one.version, "settings": one.settings} for one in self.contenders},
            "missing": dict(self.missing),
            "workloads": {name: self._workload(name, figures) for name, figures in self.figures.items()},
        }

    def _workload(self, name: str, figures: Figures) -> dict[str, Any]:
        workload = WORKLOADS[name]
        return {
            "about": workload.about(self.scale),
            "unit": workload.unit.strip(),
            "higher_is_better": workload.higher_is_better,
            "values": {who: list(values) for who, values in figures.items()},
            "medians": {who: summary(values).median for who, values in figures.items()},
            "ratios": {peer.name: ratio(*self._pair(figures, peer)) for peer in self.contenders[1:]},
        }

    def _table(self) -> list[str]:
        ours, *peers = self.contenders
        names = [*(peer.name for peer in peers), *self.missing]
        heads = [head for name in names for head in (name, "ratio")]
        rows = [["median (lowest-highest)", ours.name, *heads]]
        for name, figures in self.figures.items():
            unit = WORKLOADS[name].unit
            row = [WORKLOADS[name].about(self.scale), cell(figures[ours.name], unit)]
            for peer in peers:
                row += [cell(figures[peer.name], unit), f"{ratio(*self._pair(figures, peer)):.2f}{_note(name)}"]
            rows.append(row + ["missing", "-"] * len(self.missing))
        return aligned(rows)

    def _pair(self, figures: Figures, peer: Contender) -> tuple[Sequence[float], Sequence[float]]:
        return figures[self.contenders[0].name], figures[peer.name]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows of a table as lines."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def amount(value: float, unit: str) -> str:
    return f"{value:,.0f}{unit}"


def cell(values: Sequence[float], unit: str) -> str:
    of = summary(values)
    return f"{amount(of.median, unit)} ({of.low:,.0f}-{of.high:,.0f})"


def _note(name: str) -> str:
    return "" if WORKLOADS[name].higher_is_better else " (less is better)"


def machine_now() -> str:
    """When, and on what, the figures were made."""
    moment = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    cpus = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    return (
        f"{moment}, {cpus} CPUs, load {load:.1f} before, Linux {platform.release()}, Python {platform.python_version()}"
    )


def say(what: str) -> None:
    print(f"bench: {what}", file=sys.stderr, flush=True)
