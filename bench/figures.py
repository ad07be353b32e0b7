"""Figures that have a mark to hold: a median with its spread, and the most that it may be."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.report import aligned, summary


@dataclass(frozen=True)
class Figure:
    """One value a round. `most` is the mark, None where there is none."""

    about: str
    unit: str
    values: Sequence[float]
    most: float | None = None

    @property
    def holds(self) -> bool:
        return self.most is None or statistics.median(self.values) <= self.most

    def row(self) -> list[str]:
        of = summary(self.values)
        mark = "" if self.most is None else f"{self.most:,g}{self.unit}{'' if self.holds else ', MISSED'}"
        return [self.about, f"{_told(of.median)}{self.unit} ({_told(of.low)}-{_told(of.high)})", mark]

    def document(self) -> dict[str, Any]:
        return {
            "about": self.about,
            "unit": self.unit.strip(),
            "values": list(self.values),
            "median": statistics.median(self.values),
            "most": self.most,
            "holds": self.holds,
        }


def table(figures: Sequence[Figure]) -> list[str]:
    heads = ["figure", "median (lowest-highest)", "at most"]
    return aligned([heads, *(figure.row() for figure in figures)])


def percentile(values: Sequence[float], percent: int) -> float:
    """That so many of a hundred do not exceed."""
    ordered = sorted(values)
    return ordered[-(-len(ordered) * percent // 100) - 1]


def milliseconds(about: str, taken: Sequence[Sequence[float]], most: float | None = None) -> list[Figure]:
    """The middle and the mark's end of each round's seconds."""
    rounds = [[second * 1000 for second in one] for one in taken]
    return [
        Figure(f"{about}: p50", " ms", [percentile(one, 50) for one in rounds]),
        Figure(f"{about}: p99", " ms", [percentile(one, 99) for one in rounds], most),
    ]


def _told(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
