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
app.command("registry.cli.serve:serve")
app.command("registry.cli.fsck:fsck")
app.command("registry.cli.health:health")

config = cyclopts.App(name="config", help="Show and check the settings.")
config.command("registry.cli.settings:show")
config.command("registry.cli.settings:check")
app.command(config)

db = cyclopts.App(name="db", help="The metadata's database.")
db.command("registry.cli.database:upgrade")
db.command("registry.cli.database:status")
app.command(db)


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
