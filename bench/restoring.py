"""A repository of many tags: delete it, and restore it from the trash."""

import json
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from bench.asking import Asker
from bench.figures import Figure
from bench.report import say
from bench.servers import serving_generated
from bench.shape import Shape, tag_name, tagged_name

MOST_MILLISECONDS = 1000


def trash(folder: Path, tags: int, times: int) -> list[Figure]:
    """Over /api/v1/; in the end its last tag can be pulled."""
    deleting, restoring = list[float](), list[float]()
    name = tagged_name(tags)
    with serving_generated(folder, Shape(tags=[tags])) as server, closing(Asker(server.host)) as asker:
        for number in range(1, times + 1):
            deleting.append(asker.ask("DELETE", f"/api/v1/repositories/{quote(name, safe='')}").seconds)
            (entry,) = json.loads(asker.ask("GET", "/api/v1/trash").body)["items"]
            restoring.append(asker.ask("POST", f"/api/v1/trash/{entry['id']}/restore", b"{}").seconds)
            say(f"trash: {number}/{times}")
        asker.ask("GET", f"/v2/{name}/manifests/{tag_name(tags - 1)}")
    about = f"a repository of {tags:,} tags"
    return [
        Figure(f"{verb} {about}", " ms", [second * 1000 for second in seconds], MOST_MILLISECONDS)
        for verb, seconds in (("delete", deleting), ("restore", restoring))
    ]
