"""`backchannel version`."""

from importlib.metadata import version as installed

__all__ = ["version"]


def version() -> None:
    """Print the version."""
    print(installed("backchannel"))
