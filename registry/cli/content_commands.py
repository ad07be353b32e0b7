"""The commands for what the registry holds."""

import cyclopts

repository = cyclopts.App(name="repository", help="Repositories: what they hold; delete and rename them.")
repository.command(
    "registry.cli.repository:list_repositories",
    name="list",
    help="Repositories, by name: their tags, their size, when a tag last moved.",
)
repository.command(
    "registry.cli.repository:show",
    help="How much a repository holds, and when a tag last moved.\n\nExample: `digestry repository show team/app`",
)
repository.command(
    "registry.cli.repository:delete",
    help="""Delete a repository with all that is in it; `digestry trash restore` brings it back.

    It asks for the name at a terminal. Example: `digestry repository delete team/app`
    """,
)
repository.command(
    "registry.cli.repository:rename",
    help="""Give a repository another name.

    Tags, history and trash go along; grants do not. Example: `digestry repository rename team/app team/old-app`
    """,
)

tag = cyclopts.App(name="tag", help="Tags: mutable names of manifests; their history, and the way back.")
tag.command(
    "registry.cli.tag:list_tags",
    name="list",
    help="Tags of a repository, with platforms, size and digest.\n\nExample: `digestry tag list team/app`",
)
tag.command(
    "registry.cli.tag:history",
    help="""How a tag moved, newest first; or what it pointed to at a time.

    Example: `digestry tag history team/app:prod`, or `digestry tag history team/app:prod --at 2h`
    """,
)
tag.command(
    "registry.cli.tag:rollback",
    help="""Set tags back, all of them or none: to a digest, to a time, or else one move back.

    What they go back to may be in the trash. Example: `digestry tag rollback team/app:prod`, or
    `digestry tag rollback team/app:prod team/web:prod --at 2026-08-01T12:00:00Z --dry-run`
    """,
)

trash = cyclopts.App(name="trash", help="What was deleted, and can be restored for as long as trash.keep says.")
trash.command(
    "registry.cli.trash:list_entries",
    name="list",
    help="What can be restored, newest first.\n\nExample: `digestry trash list --repository team/app`",
)
trash.command(
    "registry.cli.trash:restore",
    help="""Bring something back, with what was deleted together with it; tags that are newer stay.

    Exit code 1 when nothing came back because of them. Example: `digestry trash restore 12`, or
    `digestry trash restore 12 --as team/app-before` beside a newer one
    """,
)
trash.command(
    "registry.cli.trash:purge",
    help="""Give something up before its time: it can't be restored any more.

    It asks for the id at a terminal. Example: `digestry trash purge 12`
    """,
)

digest = cyclopts.App(name="digest", help="Digests: what they are, and what holds them.")
digest.command(
    "registry.cli.digest:show",
    help="""Say what a digest is, and what it is called.

    Its first 8 hex digits or more are enough, here and below. Example: `digestry digest show sha256:4bf5122f`
    """,
)
digest.command(
    "registry.cli.digest:tags",
    help="""Tags that point to a manifest, or to what holds a blob.

    Example: `digestry digest tags 4bf5122f --ever` for those that did before, too
    """,
)
digest.command(
    "registry.cli.digest:manifests",
    help="""Manifests that name a digest, and the bytes that would be free in the end without each of them.

    Example: `digestry digest manifests sha256:4bf5122f`
    """,
)
digest.command(
    "registry.cli.digest:repositories",
    help="""Repositories that hold a digest, and the bytes that would be free in the end without each of them.

    Example: `digestry digest repositories sha256:4bf5122f`
    """,
)

gc = cyclopts.App(name="gc", help="The garbage collection: `serve` runs it each gc.interval, beside pushes and pulls.")
gc.command(
    "registry.cli.gc:run",
    help="""Take away what nothing needs any more, at once.

    It may run while the registry serves; no push waits. Exit code 1 when it was stopped before its end. Example:
    `digestry gc run`, or `digestry gc run --sweep` to look for bytes that belong to nothing too
    """,
)
gc.command(
    "registry.cli.gc:plan",
    help="""Say what `gc run` would do now, and how many bytes it would free.

    Nothing is changed: it works on a copy of the database, for which there must be space.
    """,
)
gc.command(
    "registry.cli.gc:explain",
    help="""Say what keeps a digest: tags, manifests, leases, the trash.

    Example: `digestry gc explain sha256:4bf5122f`
    """,
)

NOUNS = (repository, tag, trash, digest, gc)
