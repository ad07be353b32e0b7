"""The command line: what there is; each command is imported when it is called."""

import signal
import sys
from importlib.metadata import version

import cyclopts

from registry.cli import access_commands, content_commands
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

for noun in (*access_commands.NOUNS, *content_commands.NOUNS):
    app.command(noun)


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
