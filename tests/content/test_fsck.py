"""Whatever is damaged, fsck names it; whatever is sound, it leaves alone. And a list of referrers without end."""

import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert

from registry.assembly import Registry
from registry.content.conditions import Conditions
from registry.content.fsck import Report
from registry.content.pushing import Push
from registry.content.referrers import index_of
from registry.domain.manifest import MANIFEST_LIMIT
from registry.domain.names import Digest, Tag
from registry.metadata.models import manifest
from tests.support.images import OCI
from tests.support.registry import CALLER, NAME, body, execute, opened, push, start

LAYER = b"layer" * 1000


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    """One that holds an image and an unfinished upload."""
    async with opened(tmp_path) as made:
        await push_image(made)
        await made.uploads.append(await start(made), body(b"half of it"))
        yield made


async def push_image(registry: Registry) -> Digest:
    config = await push(registry, b"{}")
    layer = await push(registry, LAYER)
    payload = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI.manifest,
            "config": {"mediaType": OCI.config, "digest": config, "size": 2},
            "layers": [{"mediaType": OCI.layer, "digest": layer, "size": len(LAYER)}],
        }
    ).encode()
    made = await registry.manifests.put(
        Push(NAME, Tag("latest"), payload, OCI.manifest, [Tag("latest")], Conditions()), CALLER
    )
    return made.digest


async def check(registry: Registry, *, deep: bool = False) -> Report:
    return await registry.fsck.run(deep=deep, progress=lambda *_: None)


def root(registry: Registry) -> Path:
    return registry.settings.storage.filesystem.rootdirectory


async def layer_file(registry: Registry) -> Path:
    ((key,),) = await execute(registry, "SELECT key FROM blob WHERE size = ?", len(LAYER))
    return root(registry) / str(key)


def staged_file(registry: Registry) -> Path:
    (found,) = (root(registry) / "staging").iterdir()
    return found


@pytest.mark.parametrize("deep", [False, True])
async def test_a_sound_registry_has_neither_problems_nor_notes(registry: Registry, deep: bool) -> None:
    report = await check(registry, deep=deep)
    assert (report.problems, report.notes) == ([], [])
    assert report.counts == {"blob": 2, "manifest": 1, "ref": 2, "upload": report.counts["upload"], "doomed": 0}


async def test_progress_tells_of_every_blob_manifest_and_upload(registry: Registry) -> None:
    told: list[tuple[str, int]] = []
    await registry.fsck.run(deep=True, progress=lambda phase, done: told.append((phase, done)))
    assert told == [("blobs", 1), ("blobs", 2), ("manifests", 1), ("uploads", 1)]


async def lose_blob(registry: Registry) -> None:
    (await layer_file(registry)).unlink()


async def truncate_blob(registry: Registry) -> None:
    path = await layer_file(registry)
    path.write_bytes(path.read_bytes()[:-1])


async def lengthen_blob(registry: Registry) -> None:
    path = await layer_file(registry)
    path.write_bytes(path.read_bytes() + b"\0")


async def quarantine_blob(registry: Registry) -> None:
    await execute(registry, "UPDATE blob SET state = 'quarantined' WHERE size = ?", len(LAYER))


async def doom_blob(registry: Registry) -> None:
    await execute(registry, "INSERT INTO doomed SELECT key, 0, '', size FROM blob WHERE size = ?", len(LAYER))


async def change_ref_size(registry: Registry) -> None:
    await execute(registry, "UPDATE ref SET size = size + 1 WHERE position = 0")


async def lose_ref(registry: Registry) -> None:
    await execute(registry, "DELETE FROM ref WHERE position = 1")


async def swap_refs(registry: Registry) -> None:
    await execute(registry, "UPDATE ref SET position = 9 WHERE position = 0")


async def change_payload(registry: Registry) -> None:
    await execute(registry, "UPDATE manifest SET payload = CAST(payload || ' ' AS BLOB)")


async def change_media_type(registry: Registry) -> None:
    await execute(registry, "UPDATE manifest SET media_type = ?", OCI.index)


async def lose_staging(registry: Registry) -> None:
    staged_file(registry).unlink()


async def truncate_staging(registry: Registry) -> None:
    staged_file(registry).write_bytes(b"half")


Damage = Callable[[Registry], Awaitable[None]]
DAMAGES: list[tuple[Damage, str]] = [
    (lose_blob, "is missing"),
    (truncate_blob, "4999 bytes, not 5000"),
    (lengthen_blob, "5001 bytes, not 5000"),
    (quarantine_blob, "quarantined"),
    (doom_blob, "doomed"),
    (change_ref_size, "refs differ"),
    (lose_ref, "refs differ"),
    (swap_refs, "refs differ"),
    (change_payload, "holds other bytes"),
    (change_media_type, "manifest sha256:"),
    (lose_staging, "segment is gone"),
    (truncate_staging, "shorter than recorded"),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES])
async def test_each_damage_is_one_problem(registry: Registry, damage: Damage, words: str) -> None:
    await damage(registry)
    (problem,) = (await check(registry)).problems
    assert words in problem


@pytest.mark.parametrize("position", [0, 2500, 4999])
async def test_only_a_deep_check_finds_a_flipped_bit(registry: Registry, position: int) -> None:
    path = await layer_file(registry)
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    assert (await check(registry)).problems == []
    (problem,) = (await check(registry, deep=True)).problems
    assert Digest.of(LAYER) in problem and "other bytes" in problem


async def test_a_stray_row_is_found(registry: Registry) -> None:
    """With foreign keys off, as some other tool would write."""
    connection = sqlite3.connect(registry.settings.database.path)
    connection.execute("INSERT INTO link VALUES (1, 'sha256:absent', 0, 0, NULL, NULL)")
    connection.commit()
    connection.close()
    assert (await check(registry)).problems == ["a row of link points to a row of blob that is not there"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (f"sha256/ab/ab{'0' * 62}.{'1' * 32}", "belongs to no blob"),
        (f"staging/{'1' * 32}.1", "belong to no upload"),
    ],
)
async def test_bytes_that_no_row_knows_are_a_note(registry: Registry, name: str, words: str) -> None:
    (root(registry) / name).write_bytes(b"orphan")
    report = await check(registry, deep=True)
    assert report.problems == []
    (note,) = report.notes
    assert words in note and "1" * 32 in note


async def test_a_doomed_key_is_no_note(registry: Registry) -> None:
    name = f"sha256/ab/ab{'0' * 62}.{'1' * 32}"
    (root(registry) / name).write_bytes(b"doomed")
    await execute(registry, "INSERT INTO doomed VALUES (?, 0, '', 0)", name)
    report = await check(registry)
    assert (report.problems, report.notes) == ([], [])


# --- M-15 ------------------------------------------------------------------------------------------------------

REFERRERS = 100_000


def add_referrers(connection: Connection, subject: Digest) -> None:
    common = {
        "repository_id": 1,
        "media_type": OCI.manifest,
        "artifact_type": "application/vnd.example.signature",
        "subject": subject,
        "annotations": '{"org.example.note":"ü"}',
        "size": 2,
        "content_size": 0,
        "depth": 0,
        "pushed_at": 0,
        "keep_until": 0,
        "payload": b"{}",
    }
    connection.execute(insert(manifest), [common | {"digest": f"sha256:{n:064x}"} for n in range(REFERRERS)])


async def test_a_hundred_thousand_referrers_come_in_pages_that_clients_can_read(registry: Registry) -> None:
    subject = Digest.of(b"subject")
    await registry.database.write(add_referrers, subject)
    found: list[str] = []
    pages, last = 0, ""
    while True:
        page = await registry.referrers.list(NAME, subject, [], last)
        index = index_of(page.entries)
        assert len(index) <= MANIFEST_LIMIT
        found += [entry["digest"] for entry in json.loads(index)["manifests"]]
        pages += 1
        if page.next_last is None:
            break
        assert len(index) > MANIFEST_LIMIT * 0.9, "pages are well filled"
        assert page.next_last == found[-1]
        last = page.next_last
    assert found == [f"sha256:{n:064x}" for n in range(REFERRERS)]
    assert pages > 1
