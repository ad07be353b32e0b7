"""Compare Digestry with itself where grants decide, and with CNCF Distribution: same machine, same disk, same load,
in turn, again and again.

Needs wrk and Go (`sudo make test-deps` brings wrk). Nothing else should run meanwhile.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bench.pushes import source
from bench.report import Report, amount, machine_now, say
from bench.servers import (
    ROOT,
    Contender,
    PeerMissingError,
    digestry,
    digestry_with_grants,
    distribution,
    forget_settings,
    serving,
)
from bench.workloads import FULL, QUICK, WORKLOADS, Load, Scale

PEERS: dict[str, Callable[[], Contender]] = {"with-grants": digestry_with_grants, "distribution": distribution}


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    forget_settings()
    machine = machine_now()
    contenders, missing = _contenders()
    scale = _scale(chosen)
    figures = _run(scale, contenders, chosen.only or list(WORKLOADS), chosen.folder)
    report = Report(scale, machine, contenders, missing, figures)
    print(report.text())
    if chosen.json:
        chosen.json.write_text(json.dumps(report.document(), indent=2) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, help=f"measurements of each work by each registry ({FULL.rounds})")
    parser.add_argument("--seconds", type=int, help=f"of a wrk run ({FULL.seconds})")
    parser.add_argument(
        "--quick", action="store_true", help="short and small, to see that it works: no figures to quote"
    )
    parser.add_argument("--only", nargs="+", choices=list(WORKLOADS), metavar="WORK", help=", ".join(WORKLOADS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single figure there")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "build" / "bench", help="for data, on the disk to measure"
    )
    return parser


def _scale(chosen: argparse.Namespace) -> Scale:
    scale = QUICK if chosen.quick else FULL
    return replace(scale, rounds=chosen.rounds or scale.rounds, seconds=chosen.seconds or scale.seconds)


def _contenders() -> tuple[list[Contender], dict[str, str]]:
    contenders, missing = [digestry()], {}
    for name, make in PEERS.items():
        say(f"building {name}")
        try:
            contenders.append(make())
        except PeerMissingError as error:
            say(f"{name} is missing: {error}")
            missing[name] = str(error)
    return contenders, missing


def _run(
    scale: Scale, contenders: Sequence[Contender], works: Sequence[str], folder: Path
) -> dict[str, dict[str, list[float]]]:
    figures: dict[str, dict[str, list[float]]] = {work: {one.name: [] for one in contenders} for work in works}
    with source(max(scale.large, scale.pushed)) as contents:
        load = Load(scale, contents)
        for round_number in range(1, scale.rounds + 1):
            for work in works:
                for contender in contenders:
                    with serving(contender, folder / contender.name) as server:
                        value = WORKLOADS[work].measure(server, load)
                    figures[work][contender.name].append(value)
                    told = amount(value, WORKLOADS[work].unit)
                    say(f"round {round_number}/{scale.rounds} {work} {contender.name} {told}")
    return figures


if __name__ == "__main__":
    sys.exit(main())
