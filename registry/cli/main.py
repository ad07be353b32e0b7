"""The command line: what there is; each command is imported when it is called."""

import signal
import sys
from importlib.metadata import version

import cyclopts

from registry.config import SettingsError

app = cyclopts.App(
    name="digestry",
    version=version("digestry"),
    help="A self-hosted OCI registry: push, pull and govern images by their digest.",
    result_action="return_value",
)
app.command(
    "registry.cli.serve:serve",
    help="""Serve the registry until it is told to stop.

    SIGTERM or Ctrl-C: what runs is finished, then it stops; once more: at once. SIGHUP: the settings are read again.
    Exit codes: 0 stopped, 1 could not start, 2 wrong settings, 74 the disk failed and nothing more may be written.
    """,
)
app.command(
    "registry.cli.fsck:fsck",
    help="""Check that the registry holds all that it promised.

    It changes nothing, and may run while the registry serves. Exit code 1 when something is wrong.
    """,
)
app.command(
    "registry.cli.verify:verify",
    help="""Hash stored blobs again, those first that nobody has looked at for longest.

    Wrong ones are hidden until somebody pushes them again; those that are hidden and turn out right come back. It may
    run while the registry serves, and be stopped: `--older 1h` goes on where it was. Exit code 1 when some are wrong.
    Examples: `digestry verify --older 7d --rate 50MiB`, `digestry verify --repository team/app`
    """,
)
app.command(
    "registry.cli.health:health",
    help="""Ask the registry on this machine whether it is ready.

    Exit code 1 when it is not. Made for the health check of a container.
    """,
)

config = cyclopts.App(name="config", help="Show and check the settings.")
config.command("registry.cli.settings:show", help="Every setting with its value, its variable and where it was set.")
config.command(
    "registry.cli.settings:check", help="Say all that is wrong with the settings; exit code 2 if something is."
)
app.command(config)

db = cyclopts.App(name="db", help="The metadata's database.")
db.command(
    "registry.cli.database:upgrade",
    help="""Bring the database to the schema of this version.

    A copy is made first. `serve` does it by itself on SQLite.
    """,
)
db.command(
    "registry.cli.database:status",
    help="Say which schema the database has, and whether it is this version's; exit code 1 if not.",
)
app.command(db)

user = cyclopts.App(name="user", help="Users, who log in with a password.")
user.command(
    "registry.cli.user:add",
    help="""Make a user, who may do nothing until granted.

    The password is asked for, or read as one line from stdin. Example: `digestry user add alice`, then
    `digestry grant add user:alice 'team/**' pull,push`
    """,
)
user.command(
    "registry.cli.user:password",
    help="""Give a user another password.

    What was handed out for the old one ends. Example: `digestry user password alice`
    """,
)
user.command(
    "registry.cli.user:disable",
    help="""Keep a user out, with the robots that they made.

    Grants and memberships stay. Example: `digestry user disable alice`
    """,
)
user.command("registry.cli.user:enable", help="Let a user in again.\n\nExample: `digestry user enable alice`")
user.command(
    "registry.cli.user:remove",
    help="""Remove a user, with grants and memberships.

    Robots that they made stop working. Example: `digestry user remove alice`
    """,
)
user.command("registry.cli.user:list_users", name="list", help="Users of the database and of the htpasswd file.")
user.command(
    "registry.cli.user:import_file",
    name="import",
    help="""Make users of the lines of an htpasswd file.

    Only bcrypt lines count, and users who are there already stay as they are. Example:
    `digestry user import /etc/registry/htpasswd`
    """,
)
app.command(user)

group = cyclopts.App(name="group", help="Groups, which give their grants to their members.")
group.command(
    "registry.cli.group:add",
    help="""Make a group.

    Example: `digestry group add team`, then `digestry group join team alice bob` and
    `digestry grant add group:team 'team/**' pull,push`
    """,
)
group.command(
    "registry.cli.group:remove", help="Remove a group, with its grants.\n\nExample: `digestry group remove team`"
)
group.command("registry.cli.group:list_groups", name="list", help="Groups with their members.")
group.command(
    "registry.cli.group:members", help="The members of a group, one a line.\n\nExample: `digestry group members team`"
)
group.command(
    "registry.cli.group:join", help="Put users into a group.\n\nExample: `digestry group join team alice bob`"
)
group.command("registry.cli.group:leave", help="Take users out of a group.\n\nExample: `digestry group leave team bob`")
app.command(group)

robot = cyclopts.App(name="robot", help="Robots: names for machines, with secrets that expire.")
robot.command(
    "registry.cli.robot:add",
    help="""Make a robot, which may do nothing until granted, and show its secret once.

    The secret alone goes to stdout. Example: `digestry robot add build --about "nightly builds" --expires 30d`, then
    `digestry grant add robot:build 'team/**' pull,push`
    """,
)
robot.command(
    "registry.cli.robot:rotate",
    help="Show a new secret once; the ones before end soon.\n\nExample: `digestry robot rotate build --overlap 1h`",
)
robot.command(
    "registry.cli.robot:revoke",
    help="""End one secret at once.

    Its id is in `digestry robot show build`. Example: `digestry robot revoke build 4hX0aZq81LmP`
    """,
)
robot.command("registry.cli.robot:disable", help="Keep a robot out.\n\nExample: `digestry robot disable build`")
robot.command("registry.cli.robot:enable", help="Let a robot in again.\n\nExample: `digestry robot enable build`")
robot.command(
    "registry.cli.robot:remove",
    help="Remove a robot, with its secrets and grants.\n\nExample: `digestry robot remove build`",
)
robot.command(
    "registry.cli.robot:list_robots",
    name="list",
    help="Robots: when each was last used, and when its next secret expires.",
)
robot.command(
    "registry.cli.robot:show", help="A robot, and what is known of its secrets.\n\nExample: `digestry robot show build`"
)
app.command(robot)

grant = cyclopts.App(name="grant", help="Grants: who may do what, where. They add up; none denies.")
grant.command(
    "registry.cli.grant:add",
    help="""Give verbs on a pattern, beside those that the subject has there.

    Example: `digestry grant add group:team 'team/**' pull,push`, or for pulls without login
    `digestry grant add anonymous 'public/**' pull`
    """,
)
grant.command(
    "registry.cli.grant:remove",
    help="""Take back all that a subject has on just this pattern.

    Example: `digestry grant remove group:team 'team/**'`
    """,
)
grant.command(
    "registry.cli.grant:list_grants",
    name="list",
    help="Grants, oldest first.\n\nExample: `digestry grant list --on team/app` for those that give something there",
)
app.command(grant)

access = cyclopts.App(name="access", help="Why somebody may do something, or may not.")
access.command(
    "registry.cli.access:explain",
    help="Say of each verb whether, and by which grant.\n\nExample: `digestry access explain --as alice --on team/app`",
)
app.command(access)

ci = cyclopts.App(name="ci", help="CI jobs, which log in with the identity token of their provider.")
ci.command(
    "registry.cli.ci:add",
    help="""Make a rule: which jobs log in as ci:NAME, which may do nothing until granted.

    Example: `digestry ci add deploy --provider github --claim repository_id=123456 --claim ref=refs/heads/main`, then
    `digestry grant add ci:deploy team/app pull,push`
    """,
)
ci.command("registry.cli.ci:list_rules", name="list", help="Rules, with the claims that they ask for.")
ci.command(
    "registry.cli.ci:show", help="A rule, and what its jobs run to log in.\n\nExample: `digestry ci show deploy`"
)
ci.command(
    "registry.cli.ci:remove",
    help="Remove a rule, with its grants; its jobs are logged out.\n\nExample: `digestry ci remove deploy`",
)
ci.command(
    "registry.cli.ci:examine",
    name="test",
    help="""Say what each rule finds in a token; exit code 1 when none accepts it.

    The token is neither shown nor used up. Example: `digestry ci test token.jwt`, or `digestry ci test -` for stdin
    """,
)
app.command(ci)

audit = cyclopts.App(name="audit", help="Who did what: events, sealed into a chain of hashes.")
audit.command(
    "registry.cli.audit:list_events",
    name="list",
    help="What was done, newest first.\n\nExample: `digestry audit list --identity user:alice --since 24h`",
)
audit.command(
    "registry.cli.audit:verify",
    help="""Check that no event was changed or taken away since it was sealed.

    Exit code 1 when something is wrong. It may run while the registry serves.
    """,
)
audit.command(
    "registry.cli.audit:export",
    help="""Write events as lines of JSON, oldest first, with the seals between them.

    Example: `digestry audit export --since 30d --output events.jsonl`
    """,
)
app.command(audit)

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
app.command(repository)

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
app.command(tag)

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
app.command(trash)

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
app.command(digest)

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
app.command(gc)


def main() -> None:
    """Exit codes: 0 done, 1 problems found or failed, 2 wrong use, 130 or 143 stopped by a signal."""
    # The first process of a container ignores a signal that it has no handler for
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        code = app(exit_on_error=False)
    except cyclopts.CycloptsError:
        sys.exit(2)
    except SettingsError as error:
        for problem in error.problems:
            print(f"digestry: {problem}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)
