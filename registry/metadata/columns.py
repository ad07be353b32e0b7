"""Column types and the database's clock."""

from typing import Any

from sqlalchemy import BigInteger, Case, ColumnElement, Connection, Integer, String, Text, case, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

# Byte order and case matter in names, tags and digests, whatever the database's locale
EXACT_TEXT = Text().with_variant(String(collation="C"), "postgresql")
# SQLite makes only an INTEGER primary key the row id
ROW_ID = BigInteger().with_variant(Integer(), "sqlite")
# Milliseconds since the epoch, UTC
TIME = BigInteger()


class now(FunctionElement[int]):  # noqa: N801 - reads as the SQL function that it is
    """Milliseconds since the epoch by the database's clock: leases compare nothing else (reliability D6)."""

    type = BigInteger()
    inherit_cache = True


@compiles(now, "sqlite")
def _sqlite_now(element: now, compiler: SQLCompiler, **options: Any) -> str:
    return "digestry_now()"  # made by `Database` on each connection


@compiles(now, "postgresql")
def _postgresql_now(element: now, compiler: SQLCompiler, **options: Any) -> str:
    return "(extract(epoch from clock_timestamp()) * 1000)::bigint"


def current_time(connection: Connection) -> int:
    """What `now` is."""
    return connection.execute(select(now())).scalar_one()


def later_of(one: ColumnElement[int], other: ColumnElement[int]) -> Case[int]:
    """The greater of two times: both databases have a function for it, of different names."""
    return case((one > other, one), else_=other)
