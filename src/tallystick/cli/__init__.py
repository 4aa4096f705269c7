"""The `tallystick` command, one module per noun.

What a command needs is imported when it runs, so that `--help` is fast.
"""

import sys


def main() -> None:
    """Entry point of the `tallystick` command."""
    from tallystick.cli.command import run

    sys.exit(run(sys.argv[1:]))
