"""The command line: ``worldsim`` or ``python -m worldsim``."""

from __future__ import annotations

import sys

__all__ = ["main"]

_INTERRUPTED = 130


def main() -> None:
    """Run the command line of this process; Ctrl-C while it is still loading ends it as quietly as later."""
    try:
        from worldsim.cli import main as run

        run()
    except KeyboardInterrupt:
        print("worldsim: stopped by Ctrl-C", file=sys.stderr)
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
