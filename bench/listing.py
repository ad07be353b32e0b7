"""Pages of long lists at random places, of a large registry and of one of 1 % of its size."""

import json
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bench.asking import Asker
from bench.figures import Figure, milliseconds
from bench.pushes import UnexpectedAnswerError
from bench.report import say
from bench.servers import serving_generated
from bench.shape import Shape, single_name, tag_name, tagged_name

PAGE = 100
MOST_MILLISECONDS = 10
WARM_UP_PAGES = 50


@dataclass(frozen=True)
class Listing:
    """A list of so many entries: `target` is the page after the entry of a number, `key` where it stands there."""

    about: str
    entries: int
    target: Callable[[int], str]
    key: str

    def page(self, asker: Asker) -> float:
        """Ask for a full page at a random place; the seconds that it took."""
        target = self.target(random.randrange(self.entries - PAGE))  # noqa: S311 - nothing is kept secret
        answer = asker.ask("GET", target)
        found = len(json.loads(answer.body)[self.key])
        if found != PAGE:
            raise UnexpectedAnswerError(f"{target} has {found} entries")
        return answer.seconds


def tag_list(shape: Shape) -> Listing:
    tags = shape.tags[0]
    path = f"/v2/{tagged_name(tags)}/tags/list?n={PAGE}&last="
    return Listing(f"tags/list?n={PAGE} in {tags:,} tags", tags, lambda number: path + tag_name(number), "tags")


def catalog(shape: Shape) -> Listing:
    count = shape.repositories
    path = f"/v2/_catalog?n={PAGE}&last="
    about = f"_catalog?n={PAGE} in {count:,} repositories"
    return Listing(about, count, lambda number: path + quote(single_name(number), safe=""), "repositories")


def lists(folder: Path, shape: Shape, rounds: int, pages: int) -> list[Figure]:
    """Both registries serve, and one of them is asked."""
    small = Shape(repositories=shape.repositories // 100, tags=[shape.tags[0] // 100])
    taken: dict[str, list[Sequence[float]]] = defaultdict(list)
    with ExitStack() as stack:
        asked = [
            (listing, stack.enter_context(closing(Asker(server.host))))
            for one in (shape, small)
            for server in [stack.enter_context(serving_generated(folder / str(one.repositories), one))]
            for listing in (tag_list(one), catalog(one))
        ]
        for number in range(1, rounds + 1):
            for listing, asker in asked:
                for _ in range(WARM_UP_PAGES):
                    listing.page(asker)
                taken[listing.about].append([listing.page(asker) for _ in range(pages)])
            say(f"lists: round {number}/{rounds}")
    return [figure for about, each in taken.items() for figure in milliseconds(about, each, MOST_MILLISECONDS)]
