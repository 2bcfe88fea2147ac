"""The command line, ``hetagent COMMAND``: argument parsing and printing only."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; errors of ours are two lines on standard error and exit code 2."""
    from hetagent.cli.app import app
    from hetagent.cli.options import INTERRUPTED
    from hetagent.errors import HetagentError

    try:
        app(prog_name="hetagent")
    except HetagentError as error:
        sys.stderr.write(f"error: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"  {error.hint}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output went away, as `head` does; say nothing at exit either.
        sys.stderr.close()
        sys.exit(1)
