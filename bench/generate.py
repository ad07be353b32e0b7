"""Make the data of a registry of any size in minutes: a database, and a folder with a real file for each blob.

    python -m bench.generate --root DIR --blobs 1000000 --garbage 100000
    python -m bench.generate --root DIR --tags 100000 1000000 --repositories 100000

DIR gets registry.db and blobs/. `digestry fsck --deep` finds nothing wrong there, and this serves it:

    digestry serve --set database.url=sqlite:///DIR/registry.db --set storage.filesystem.rootdirectory=DIR/blobs

What is in it, from Python by `generate(folder, Shape(…))`:

    images/0000 …     images of a config and 2 to 5 layers, 100 a repository, each with a tag: v0, v1 …
    single/0000000 …  repositories with one manifest and one tag, v1
    tags/N            a repository of N tags, build-0000000 …, ten on each manifest

Of all blobs, `garbage` were pushed to images/… and never used: their leases are over, and nothing else may go. The
repositories of single/ and tags/ share three blobs more. All of it was pushed two days ago; there are no events.
"""

import argparse
import multiprocessing
import os
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing, contextmanager
from pathlib import Path

from bench.rows import Made, Progress, Rows, fill, garbage
from bench.shape import Shape, blobs_of, bytes_of, database_of, key_of
from registry.metadata.schema import upgrade
from storage.digest import Digest
from storage.keys import FAN_OUT

FILES = 10_000
CACHE_KIB = 2 * 1024 * 1024
# What repositories of many names share
FEW_BLOBS = 3


def _silent(phase: str, done: int) -> None:
    """Nobody watches."""


def generate(root: Path, shape: Shape, progress: Progress = _silent, now: int | None = None) -> None:
    """Fill a new folder; `progress` gets a phase and how much of it is done, `now` is in milliseconds."""
    for folder in FAN_OUT:
        (blobs_of(root) / folder).mkdir(mode=0o700, parents=True)
    upgrade(database_of(root))
    count = shape.blobs + (FEW_BLOBS if shape.repositories or shape.tags else 0)
    # Processes, not threads: the rows are made by this one meanwhile
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=spawning) as pool:
        ranges = [range(start, min(start + FILES, count)) for start in range(0, count, FILES)]
        writing = [pool.submit(_write_files, blobs_of(root), numbers) for numbers in ranges]
        with _writing(database_of(root), fast=True) as rows:
            fill(Made(rows, now or _now(), progress), shape)
        for done, written in enumerate(as_completed(writing), 1):
            written.result()
            progress("files", min(done * FILES, count))
    os.sync()


def add_garbage(root: Path, numbers: range, now: int | None = None) -> None:
    """Blobs of these numbers that nothing needs, beside a registry that serves; none may have been there before."""
    _write_files(blobs_of(root), numbers)
    with _writing(database_of(root), fast=False) as rows:
        found = rows.connection.execute("SELECT count(*) FROM repository WHERE name LIKE 'images/%'")
        garbage(Made(rows, now or _now(), _silent, blobs=numbers.start), len(numbers), found.fetchone()[0])
    os.sync()


def _write_files(folder: Path, numbers: range) -> None:
    for number in numbers:
        data = bytes_of(number)
        path = f"{folder}/{key_of(number, Digest.of(data))}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, data)
        os.close(descriptor)


@contextmanager
def _writing(path: Path, *, fast: bool) -> Iterator[Rows]:
    """One transaction; a `fast` one that is interrupted leaves nothing of use."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        if fast:
            for pragma in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{CACHE_KIB}"):
                connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN IMMEDIATE")
        rows = Rows(connection)
        yield rows
        rows.flush()
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")


def _now() -> int:
    return time.time_ns() // 1_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if chosen.garbage > chosen.blobs:
        parser.error("--garbage is a part of --blobs")
    if database_of(chosen.root).exists() or blobs_of(chosen.root).exists():
        parser.error(f"{chosen.root} has data already; remove it, or choose another folder")
    started = time.monotonic()
    generate(chosen.root, Shape(chosen.blobs, chosen.garbage, chosen.repositories, chosen.tags), _progress)
    print(f"made in {time.monotonic() - started:.0f} s: {chosen.root}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.generate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="a new or empty folder")
    parser.add_argument("--blobs", type=int, default=0, help="all blobs, the garbage too")
    parser.add_argument("--garbage", type=int, default=0, help="blobs that nothing needs")
    parser.add_argument("--repositories", type=int, default=0, help="repositories with one manifest each")
    parser.add_argument("--tags", type=int, nargs="+", default=(), help="for each number a repository of so many tags")
    return parser


def _progress(phase: str, done: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{phase}: {done:<12,}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
