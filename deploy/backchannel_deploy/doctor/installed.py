"""What is installed here: the version, the extras, and whether anybody tries this platform."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement

from backchannel_deploy.doctor.finding import Finding

__all__ = ["check_install", "complete_extras"]

_DISTRIBUTION = "backchannel"
_SUPPORTED = ("Linux", "Darwin")


def check_install() -> list[Finding]:
    """Returns what was found."""
    system = platform.system()
    told = (
        f"backchannel {version(_DISTRIBUTION)}, Python {platform.python_version()} "
        f"on {system} {platform.machine()}; extras: {', '.join(complete_extras()) or 'none'}."
    )
    if system in _SUPPORTED and sys.implementation.name == "cpython":
        return [Finding("install", "ok", told)]
    return [Finding("install", "warning", told, "It is tried on CPython on Linux and macOS only.")]


def complete_extras() -> list[str]:
    """Returns the extras of which everything is installed."""
    needed = [Requirement(each) for each in requires(_DISTRIBUTION) or ()]
    names = metadata(_DISTRIBUTION).get_all("Provides-Extra") or []
    return sorted(name for name in names if _complete(name, needed))


def _complete(extra: str, needed: list[Requirement]) -> bool:
    return all(
        all(_complete(inner, needed) for inner in each.extras)
        if each.name == _DISTRIBUTION
        else _is_installed(each)
        for each in needed
        if each.marker and each.marker.evaluate({"extra": extra})
    )


def _is_installed(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False
