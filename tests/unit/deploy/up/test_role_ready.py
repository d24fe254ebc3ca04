"""When a role counts as started: when it says so itself."""

import asyncio
import os
from pathlib import Path

from backchannel.probes.server import ProbeServer
from backchannel_deploy.up.data_dir import DataDir
from backchannel_deploy.up.roles import command
from backchannel_deploy.up.specs import role_spec


async def test_a_role_with_a_port_is_ready_when_it_says_so_there(tmp_path: Path) -> None:
    said = ["waits for its partitions"]
    role = ProbeServer("127.0.0.1", 0, dead=str, unready=lambda: said[0], collect=list)
    await role.start()
    try:
        spec = role_spec(command("worker"), {}, DataDir(tmp_path), role.port)
        assert spec.ready is not None
        assert spec.env["BACKCHANNEL_WORKER_PORT"] == str(role.port)
        ready = asyncio.ensure_future(spec.ready(os.getpid()))
        await asyncio.sleep(0.3)
        assert not ready.done()

        said[0] = ""
        await asyncio.wait_for(ready, 5)
    finally:
        await role.stop()


def test_a_role_without_a_port_is_ready_at_once(tmp_path: Path) -> None:
    spec = role_spec(command("mine"), {}, DataDir(tmp_path), None)

    assert spec.ready is None
    assert "BACKCHANNEL_MINE_PORT" not in spec.env
