"""`digestry serve` whose deadlines pass in a second or two, for tests that wait for them."""

import sys
from functools import partial

from registry import worker
from registry.app import make_runner
from registry.cli.main import main
from registry.web.deadlines import Deadlines

HASTY = Deadlines(head=0.6, idle=1.2, linger=2.5, grace=0.4, window=1.2, rate=1024, sweep=0.1)
COMMAND = (sys.executable, "-m", "tests.support.hasty")

if __name__ == "__main__":
    worker.make_runner = partial(make_runner, deadlines=HASTY)  # type: ignore[attr-defined]
    main()
