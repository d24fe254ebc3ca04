"""The command `backchannel`: also `python -m backchannel_deploy`."""

import sys

from backchannel_deploy.extras import missing_extra

__all__ = ["main"]


def main() -> None:
    """Runs the command line; always exits."""
    try:
        from backchannel_deploy.cli.app import run
    except ModuleNotFoundError as error:
        sys.exit(missing_extra(error))
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
