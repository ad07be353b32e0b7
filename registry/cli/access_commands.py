"""The commands for who may do what, and who did."""

import cyclopts

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

access = cyclopts.App(name="access", help="Why somebody may do something, or may not.")
access.command(
    "registry.cli.access:explain",
    help="Say of each verb whether, and by which grant.\n\nExample: `digestry access explain --as alice --on team/app`",
)

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

NOUNS = (user, group, robot, grant, access, ci, audit)
