"""What the planner of SQLite can't know: without statistics it takes 10 rows for all that a repository has.

So it would rather look through a whole repository than follow an index that names a digest, too.
"""

from typing import Any

from sqlalchemy import Boolean, ColumnElement
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class rarely(FunctionElement[bool]):  # noqa: N801 - reads as a function
    """The condition, which few rows fulfil."""

    type = Boolean()
    inherit_cache = True


class mostly(FunctionElement[bool]):  # noqa: N801
    """The condition, which may tell little."""

    type = Boolean()
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
def _as_it_is(element: FunctionElement[bool], compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)
