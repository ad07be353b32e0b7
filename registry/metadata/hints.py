"""What the planner of SQLite can't know: without statistics it takes 10 rows for all that a repository has.

So it would rather look through a whole repository than follow an index that names a digest, too.
"""

from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NULLTYPE


class rarely(FunctionElement[Any]):  # noqa: N801 - reads as a function
    """The condition, which few rows fulfil."""

    # with one, SQLAlchemy would compare it with 1, which hides the condition from the planner
    type = NULLTYPE
    inherit_cache = True


class mostly(FunctionElement[Any]):  # noqa: N801
    """The condition, which may tell little."""

    type = NULLTYPE
    inherit_cache = True


def among(repository_id: ColumnElement[bool], digest: ColumnElement[bool]) -> ColumnElement[bool]:
    """Both conditions, by an index that has both columns."""
    return mostly(repository_id) & rarely(digest)


@compiles(rarely, "sqlite")
def _rarely(element: rarely, compiler: SQLCompiler, **options: Any) -> str:
    return f"likelihood({compiler.process(element.clauses, **options)}, 0.000001)"


@compiles(mostly, "sqlite")
def _mostly(element: mostly, compiler: SQLCompiler, **options: Any) -> str:
    return f"likelihood({compiler.process(element.clauses, **options)}, 0.9)"


@compiles(rarely)
@compiles(mostly)
def _as_it_is(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)
