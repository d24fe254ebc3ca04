"""A port's answer counts only when it is ours."""

import asyncio
import os
import socket

import pytest

from backchannel_deploy.up.listening import wait_until_listening


async def test_our_own_listener_is_recognized() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with asyncio.timeout(10):
            await wait_until_listening(os.getpid(), listener.getsockname()[1])


async def test_the_listener_of_another_process_is_not_taken_for_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await wait_until_listening(os.getppid(), listener.getsockname()[1])
