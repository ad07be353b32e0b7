"""Which schema a database has, and the way to the one that this version needs."""

import importlib.util
from pathlib import Path

from sqlalchemy import create_engine, event, inspect, text
from sqlalchemy.pool import NullPool

from storage.crashpoints import crash_point
from storage.files import make_folder

# The newest revision under migrations/; a constant, since Alembic costs 70 MiB to import
HEAD = "0003"


class SchemaUnknownError(RuntimeError):
    """The database was written by a newer version, or by something else."""


def current_revision(path: Path) -> str | None:
    """The revision of a SQLite database, None for one that is new or not there."""
    if not path.exists():
        return None
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return found


def upgrade(path: Path) -> None:
    """Bring the database to HEAD, in one transaction; raise SchemaUnknownError for a newer one."""
    # 70 MiB that no serving process should carry
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_scripts()))
    found = current_revision(path)
    if found is not None:
        try:
            ScriptDirectory.from_config(config).get_revision(found)
        except CommandError as error:
            raise SchemaUnknownError(
                f"{path} has schema {found}, which this version does not know; run the version that made it"
            ) from error
    make_folder(path.parent)
    # Keys lie in it. SQLite gives its log the same rights; the file has no lock yet that a close could drop
    path.touch(mode=0o600)
    path.chmod(0o600)
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool, connect_args={"isolation_level": None})
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    event.listen(engine, "after_cursor_execute", lambda *_: crash_point("migration.statement"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        crash_point("migration.committing")


def _scripts() -> Path:
    """migrations/ lies beside the package in a checkout, and inside it in a wheel."""
    spec = importlib.util.find_spec("registry")
    assert spec is not None and spec.origin is not None
    package = Path(spec.origin).parent
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"
