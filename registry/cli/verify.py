"""`digestry verify`."""

import json
import logging
import sys
from collections.abc import Sequence
from contextlib import aclosing
from typing import Annotated, TypeAlias

from cyclopts import Parameter, Token

from registry import values
from registry.assembly import Registry
from registry.cli.acting import DURATION, OPERATING, Duration
from registry.cli.opening import run_on
from registry.cli.options import AsJson, ConfigFile, Flags
from registry.cli.progress import Progress
from registry.content import quarantine
from registry.content.scrub import Checked, Wanted
from registry.domain.names import RepositoryName
from registry.domain.problems import Invalid

# The command itself says what is logged there
logging.getLogger(quarantine.__name__).addHandler(logging.NullHandler())


class Size(int):
    """Bytes; the word that the help shows."""


def _size(kind: type, tokens: Sequence[Token]) -> Size:
    return Size(values.size(tokens[0].value))


Digests: TypeAlias = Annotated[
    tuple[str, ...], Parameter(negative="", help="Digests of blobs, or their first digits; without any, all blobs.")
]
Where: TypeAlias = Annotated[str | None, Parameter(name="--repository", help="Only what this repository holds.")]
Older: TypeAlias = Annotated[
    Duration | None,
    DURATION,
    Parameter(name="--older", show_default=False, help="Leave out what was verified in this time, such as 7d."),
]
Rate: TypeAlias = Annotated[
    Size,
    Parameter(
        name="--rate",
        converter=_size,
        n_tokens=1,
        show_default=False,
        help="Read at most so many bytes a second, such as 50MiB.",
    ),
]
ANY_RATE = Size(0)


class _Telling:
    """What is said on the way, and in the end."""

    def __init__(self, progress: Progress, *, as_json: bool) -> None:
        self._progress = progress
        self._as_json = as_json
        self._read = self._blobs = 0
        self.wrong = 0

    def step(self, step: int | Checked) -> None:
        if isinstance(step, int):
            self._read += step
            self._progress.show("verified", self._read)
            return
        self._blobs += 1
        self.wrong += step.wrong is not None
        if step.wrong is not None or step.released:
            self._progress.clear()
            print(json.dumps(_told(step)) if self._as_json else _line(step), flush=True)

    def summary(self) -> None:
        if self._as_json:
            print(json.dumps({"blobs": self._blobs, "bytes": self._read, "wrong": self.wrong}))
        else:
            size = values.rounded_size(self._read)
            print(f"verified {values.counted(self._blobs, 'blob')}, {size}: {self.wrong or 'none'} wrong")


def verify(
    digests: Digests = (),
    /,
    *,
    repository: Where = None,
    older: Older = None,
    rate: Rate = ANY_RATE,
    config: ConfigFile = None,
    flags: Flags = (),
    as_json: AsJson = False,
) -> int:
    """Hash stored blobs again, and hide those that are wrong until they are pushed again. Exit code 1 when some are."""

    async def run(registry: Registry) -> int:
        wanted = await _wanted(registry, digests, repository, older)
        extent = await registry.scrub.extent(wanted)
        with Progress(extent.bytes, in_bytes=True, lines=sys.stdout if as_json else None) as progress:
            telling = _Telling(progress, as_json=as_json)
            async with aclosing(registry.scrub.verify(wanted, OPERATING, rate)) as steps:
                async for step in steps:
                    telling.step(step)
        telling.summary()
        return 1 if telling.wrong else 0

    return run_on(config, flags, run, as_json=as_json)


async def _wanted(registry: Registry, digests: Sequence[str], repository: str | None, older: int | None) -> Wanted:
    if digests and (repository is not None or older is not None):
        raise Invalid("give digests, or --repository and --older, not both")
    return Wanted(
        [await registry.digests.resolve(text, None) for text in digests],
        None if repository is None else RepositoryName.parse(repository),
        older or 0,
    )


def _line(checked: Checked) -> str:
    if checked.wrong is None:
        return f"RELEASED: {checked.digest}: it was in quarantine, and its bytes are right"
    return (
        f"WRONG: {checked.digest}: its bytes {checked.wrong.about}. It is in quarantine until it is pushed again; "
        f"needed by {checked.affected}"
    )


def _told(checked: Checked) -> dict[str, object]:
    if checked.wrong is None or checked.affected is None:
        return {"released": checked.digest}
    affected = checked.affected
    wrong = {"wrong": checked.digest, "size": checked.size, "kind": checked.wrong.kind, "about": checked.wrong.about}
    return {**wrong, "tags": affected.tags, "more_tags": affected.and_more}
