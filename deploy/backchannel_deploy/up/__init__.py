"""``backchannel up``: the whole pipeline on one machine, supervised.

Names are imported when they are asked for: the roles take `exit_when_parent_dies` from here, and
``backchannel sql`` takes `find_running`, and neither wants to wait for, or need, all the rest.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backchannel_deploy.up.errors import AlreadyRunningError, StartError, UpError
    from backchannel_deploy.up.parent import exit_when_parent_dies
    from backchannel_deploy.up.progress import Progress
    from backchannel_deploy.up.roles import ROLES, Role
    from backchannel_deploy.up.run import Session, run_up
    from backchannel_deploy.up.running import RunningUp, find_running
    from backchannel_deploy.up.settings import UpSettings
    from backchannel_deploy.up.up import Prepare, Up

__all__ = [
    "ROLES",
    "AlreadyRunningError",
    "Prepare",
    "Progress",
    "Role",
    "RunningUp",
    "Session",
    "StartError",
    "Up",
    "UpError",
    "UpSettings",
    "exit_when_parent_dies",
    "find_running",
    "run_up",
]

_MODULES = {
    "ROLES": "roles",
    "AlreadyRunningError": "errors",
    "Prepare": "up",
    "Progress": "progress",
    "Role": "roles",
    "RunningUp": "running",
    "Session": "run",
    "StartError": "errors",
    "Up": "up",
    "UpError": "errors",
    "UpSettings": "settings",
    "exit_when_parent_dies": "parent",
    "find_running": "running",
    "run_up": "run",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
