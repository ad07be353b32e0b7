"""What it costs in a large registry to collect garbage, to delete and restore a repository, and to list names.

The data is generated (bench/generate.py): about 8 GB and 1,000,000 files under --root, removed afterwards. Nothing
else should run meanwhile.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.collecting import gc
from bench.figures import Figure, table
from bench.listing import lists
from bench.report import machine_now
from bench.restoring import trash
from bench.servers import ROOT, digestry, forget_settings
from bench.shape import Shape


@dataclass(frozen=True)
class Scale:
    """How large, and how often: `trashed` tags are restored `restores` times, a round asks for so many `pages`."""

    rounds: int
    collected: Shape
    trashed: int
    restores: int
    listed: Shape
    pages: int


FULL = Scale(
    rounds=3,
    collected=Shape(blobs=1_000_000, garbage=100_000),
    trashed=100_000,
    restores=5,
    listed=Shape(repositories=100_000, tags=[1_000_000]),
    pages=2_000,
)
QUICK = Scale(
    rounds=1,
    collected=Shape(blobs=20_000, garbage=2_000),
    trashed=1_000,
    restores=2,
    listed=Shape(repositories=20_000, tags=[20_000]),
    pages=100,
)

WORKS: Mapping[str, Callable[[Path, Scale], list[Figure]]] = {
    "gc": lambda folder, scale: gc(folder, scale.collected, scale.rounds),
    "trash": lambda folder, scale: trash(folder, scale.trashed, scale.restores),
    "lists": lambda folder, scale: lists(folder, scale.listed, scale.rounds, scale.pages),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 1 when a mark is missed."""
    chosen = _parser().parse_args(arguments)
    forget_settings()
    machine, ours, scale = machine_now(), digestry(), QUICK if chosen.quick else FULL
    figures: dict[str, list[Figure]] = {}
    for work in chosen.only or WORKS:
        folder = chosen.root / work
        shutil.rmtree(folder, ignore_errors=True)
        try:
            figures[work] = WORKS[work](folder, scale)
        finally:
            if not chosen.keep:
                shutil.rmtree(folder, ignore_errors=True)
    found = [figure for work in figures.values() for figure in work]
    print("\n".join([machine, f"{ours.name} {ours.version}: {ours.settings}", "", *table(found)]))
    if chosen.json:
        told = {work: [figure.document() for figure in some] for work, some in figures.items()}
        document = {"machine": machine, "version": ours.version, "scale": asdict(scale), "figures": told}
        chosen.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0 if all(figure.holds for figure in found) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.lifecycle", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="short and small, to see that it works: no figures to quote"
    )
    parser.add_argument("--only", nargs="+", choices=list(WORKS), metavar="WORK", help=", ".join(WORKS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single figure there")
    parser.add_argument(
        "--root",
        type=Path,
        default=ROOT / "build" / "lifecycle",
        metavar="DIR",
        help="for data, on the disk to measure",
    )
    parser.add_argument("--keep", action="store_true", help="leave the data and the servers' logs there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
