"""The faults that `tests.crash.planted` plants, and who must catch each. One row a fault."""

from dataclasses import dataclass
from typing import TypeAlias

Command: TypeAlias = tuple[str, ...]

KILLS: Command = ("tests.crash.kill_points", "--kills", "200")
KILLS_OF_MANY: Command = ("tests.crash.kill_points", "--kills", "200", "--pushers", "16", "--workers", "1")
POWER_CUTS: Command = ("tests.crash.power_cuts", "--cuts", "60")
NTH_CALL: Command = ("pytest", "-q", "-p", "no:cacheprovider", "tests/crash/test_nth_call.py")
ZOMBIES: Command = ("pytest", "-q", "-p", "no:cacheprovider", "tests/content/test_uploads.py")
FINISHING: Command = ("pytest", "-q", "-p", "no:cacheprovider", "tests/content/test_finishing.py")
HASHES: Command = ("pytest", "-q", "-p", "no:cacheprovider", "tests/content/test_hashes.py")
PRAGMAS: Command = ("pytest", "-q", "-p", "no:cacheprovider", "tests/metadata/test_database.py")
CONSTRAINTS: Command = ("pytest", "-q", "-p", "no:cacheprovider", "tests/metadata/test_constraints.py")
SYNCED: Command = ("pytest", "-q", "-p", "no:cacheprovider", "tests/crash/test_synced.py")
DISKS: Command = ("pytest", "-x", "-q", "-p", "no:cacheprovider", "tests/badinput/test_storage_faults.py")


@dataclass(frozen=True)
class Change:
    """`old` is in the file exactly once."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutation:
    name: str
    command: Command
    changes: tuple[Change, ...]


def _fault(name: str, command: Command, file: str, old: str, new: str) -> Mutation:
    return Mutation(name, command, (Change(file, old, new),))


_DATABASE = "registry/metadata/database.py"
_FILES = "storage/filesystem.py"
_FINISHING = "registry/content/finishing.py"
_ROWS = "registry/metadata/uploads.py"
_RELEASED = (
    "\n        .values(\n            offset=staged.size,\n            segments=_dump(staged),\n"
    "            candidate=candidate,"
)
_SETTLE = "write.future.get_loop().call_soon_threadsafe(write.settle)"

MUTATIONS = (
    # Answers
    _fault(
        "answer before COMMIT",
        KILLS,
        _DATABASE,
        "                write.result = write.run(self._writing)\n",
        f"                write.result = write.run(self._writing)\n                {_SETTLE}\n",
    ),
    _fault(
        "group commit answers all but the first before COMMIT",
        KILLS_OF_MANY,
        _DATABASE,
        '                crash_point("database.committing")\n',
        f"                for write in group[1:]:\n                    {_SETTLE}\n"
        '                crash_point("database.committing")\n',
    ),
    _fault(
        "a failed COMMIT is answered with success",
        NTH_CALL,
        _DATABASE,
        "                write.error = failure\n",
        "                write.error = None if write.result is not None else failure\n",
    ),
    # The order of writes
    _fault(
        "COMMIT before link",
        KILLS,
        _FINISHING,
        "            await self._record(finished, known, None if shared else await self._publish(finished))\n",
        "            from storage.keys import blob_key\n"
        "            key = blob_key(finished.digest, finished.staged.upload_id)\n"
        "            await self._record(finished, known, None if shared else key)\n"
        "            await self._publish(finished)\n",
    ),
    _fault(
        "staging is unlinked before COMMIT",
        KILLS,
        _FINISHING,
        "        if not await self._database.write(_record, finished, known, key):\n",
        "        await self._store.discard(finished.staged)\n"
        "        if not await self._database.write(_record, finished, known, key):\n",
    ),
    _fault(
        "a cancelled upload loses its bytes before its row",
        KILLS,
        "registry/content/receiving.py",
        "        self._hashes.forget(row.id)\n",
        "        self._hashes.forget(row.id)\n        await self._store.discard(row.staged)\n",
    ),
    _fault(
        "the start sweeps what rows know",
        KILLS,
        "registry/content/uploads.py",
        "                if not await self._database.read(uploads.exists, staged.upload_id):\n",
        "                if True:\n",
    ),
    _fault(
        "published bytes are removed after a COMMIT that failed",
        NTH_CALL,
        _FINISHING,
        "        if not await self._database.write(_record, finished, known, key):\n",
        "        try:\n"
        "            recorded = await self._database.write(_record, finished, known, key)\n"
        "        except Exception:\n"
        "            if key:\n"
        "                await self._store.delete(key)\n"
        "            raise\n"
        "        if not recorded:\n",
    ),
    # Leases and versions
    _fault(
        "leases of dead workers are kept",
        KILLS,
        "registry/post.py",
        "        await registry.uploads.clear_leases(self.ended)\n",
        "",
    ),
    _fault(
        "leases of a dead server are kept",
        KILLS,
        "registry/metadata/instances.py",
        "    connection.execute(held.values(lease_owner=None, lease_until=None))\n",
        "",
    ),
    _fault(
        "workers outlive their parent",
        KILLS,
        "registry/post.py",
        "    loop.add_reader(channel, lambda: os._exit(1))\n",
        "    loop.add_reader(channel, lambda: None)\n",
    ),
    _fault(
        "the lease is not checked at the finish (P6)",
        FINISHING,
        _ROWS,
        ".where(_held(upload_id, version), upload.c.finished_digest.is_(None))",
        ".where(upload.c.id == upload_id, upload.c.finished_digest.is_(None))",
    ),
    _fault(
        "a writer whose lease ran out moves the offset (P1, P7)",
        ZOMBIES,
        _ROWS,
        f".where(_held(staged.upload_id, version)){_RELEASED}",
        f".where(upload.c.id == staged.upload_id, upload.c.version >= version){_RELEASED}",
    ),
    _fault(
        "a live hash is used whatever its version (P1)",
        HASHES,
        "registry/content/hashes.py",
        "kept[:2] != (version, offset)",
        "kept[1] != offset",
    ),
    # Checks
    _fault(
        "the offset is not checked",
        KILLS,
        "registry/content/leases.py",
        "    if start is not None and start != row.offset:\n",
        "    if start is None:\n",
    ),
    _fault(
        "the digest is not compared",
        KILLS,
        "registry/content/uploads.py",
        "            if await self._digest(taken, digest.algorithm) != digest:\n",
        "            if await self._digest(taken, digest.algorithm) is None:\n",
    ),
    _fault(
        "a manifest may name blobs that are not there",
        KILLS,
        "registry/content/pushing.py",
        '"foreign" if descriptor.is_foreign else "missing"',
        '"foreign"',
    ),
    _fault(
        "a blob that a manifest needs may be deleted",
        KILLS,
        "registry/content/blobs.py",
        "    if referrer is not None:\n",
        "    if referrer is None and referrer:\n",
    ),
    _fault(
        "a tag may point to no manifest: its foreign key is dropped",
        CONSTRAINTS,
        "migrations/versions/0001_first_schema.py",
        "        sa.ForeignKeyConstraint(\n"
        '            ["repository_id", "digest"], ["manifest.repository_id", "manifest.digest"], ondelete="RESTRICT"\n'
        "        ),\n"
        '        sa.PrimaryKeyConstraint("repository_id", "name"),\n',
        '        sa.PrimaryKeyConstraint("repository_id", "name"),\n',
    ),
    Mutation(
        "foreign keys are not enforced, and not noticed",
        PRAGMAS,
        (
            Change(_DATABASE, "PRAGMA foreign_keys = ON", "PRAGMA foreign_keys = OFF"),
            Change(_DATABASE, '"foreign_keys": 1', '"foreign_keys": 0'),
        ),
    ),
    # What only a power cut shows
    Mutation(
        "synchronous=NORMAL, and not noticed",
        POWER_CUTS,
        (
            Change(_DATABASE, "PRAGMA synchronous = FULL", "PRAGMA synchronous = NORMAL"),
            Change(_DATABASE, '"synchronous": 2', '"synchronous": 1'),
        ),
    ),
    _fault(
        "staged bytes are not synced at the end of a PATCH",
        POWER_CUTS,
        _FILES,
        "        await self._threads.write(sync_data, self._descriptor)\n",
        "",
    ),
    _fault(
        "a blob joined of several segments is not synced",
        POWER_CUTS,
        _FILES,
        "            sync(target)\n",
        "            pass\n",
    ),
    _fault(
        "the folder of a key is not synced",
        POWER_CUTS,
        _FILES,
        "        sync_folder(final.parent)  # link(2) leaves staging as it was\n",
        "",
    ),
    # What the journals of ext4 and XFS hide from power cuts
    _fault("a blob is not synced before its link", SYNCED, _FILES, "                sync(source)\n", ""),
    _fault(
        "the folder of a new segment is not synced",
        SYNCED,
        _FILES,
        "            sync_folder(self._root / STAGING)\n            return descriptor\n",
        "            return descriptor\n",
    ),
    _fault(
        "the folder of a new folder is not synced",
        SYNCED,
        "storage/files.py",
        "        sync_folder(path.parent)\n",
        "        pass\n",
    ),
    _fault(
        "the folders made at start are not synced",
        SYNCED,
        _FILES,
        "        sync_folder(root / folder)\n",
        "        pass\n",
    ),
    # Disks that fail
    _fault("a failed fsync marks nothing", DISKS, _FILES, "            self.mark.set(str(error))\n", ""),
    _fault(
        "a COMMIT that failed on the disk marks nothing",
        DISKS,
        _DATABASE,
        '                self._mark.set(f"the database at a commit: {error}")\n',
        "                pass\n",
    ),
    _fault("deletes have no reserve", DISKS, _DATABASE, "            self._reserve.give_up()\n", ""),
    _fault("pushes may take the reserve", DISKS, _DATABASE, "full = not self._has_room()", "full = False"),
    _fault(
        "a blob that ended early was sent whole",
        DISKS,
        "registry/web/blob_response.py",
        "if sent != part.length:",
        "if sent > part.length:",
    ),
    _fault(
        "a reader that finds no file gives up at once (P10)",
        DISKS,
        "registry/content/blobs.py",
        "if found.key == missed:",
        "if found.key:",
    ),
)
