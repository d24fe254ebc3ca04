"""What others may import from the package."""

import subprocess
import sys

import pytest

from backchannel_deploy import up


@pytest.mark.parametrize("name", up.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(up, name) is not None


def test_a_name_that_is_not_public_is_not_there() -> None:
    assert not hasattr(up, "find_stopped")


@pytest.mark.parametrize("name", ["exit_when_parent_dies", "find_running"])
def test_what_small_commands_need_brings_no_client_and_no_server(name: str) -> None:
    code = (
        f"import sys; from backchannel_deploy.up import {name};"
        "assert not {'aiohttp', 'aiokafka', 'jgo', 'rich'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
