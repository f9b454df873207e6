"""`dask worker` opens a host, as the documentation starts it; and what is said without distributed."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from pyxen.aio import Domain
from pyxen.distributed import Fleet
from tests.unit.distributed.cluster import GUEST, Cluster, cluster, run


@contextlib.asynccontextmanager
async def command(hosts: Cluster, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run ``dask worker`` with its preload."""
    settings = ("--name", "host1", "--no-nanny", "--nthreads", "1000", "--no-dashboard", "--host", "127.0.0.1")
    program = [sys.executable, "-m", "dask", "worker", hosts.scheduler.address, *settings]
    process = await asyncio.create_subprocess_exec(
        *program, "--preload", "pyxen.distributed.worker", *arguments, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


def test_a_worker_is_started_with_its_host() -> None:
    async def main() -> None:
        async with (
            cluster() as hosts,
            command(hosts, "--uri", "memory:///host1", "--vcpus-per-cpu", "8") as worker,
            Fleet(hosts.client) as fleet,
        ):
            guest = await fleet.create(GUEST)
            assert guest.host == "host1"
            assert (await guest.call(Domain.info)).name == "guest"
            worker.kill()
            async with asyncio.timeout(60):
                while fleet.hosts:  # noqa: ASYNC110 (the fleet tells nobody)
                    await asyncio.sleep(0.1)

    run(main())


def test_what_is_missing_without_distributed() -> None:
    program = "import sys; sys.modules['distributed'] = None; import pyxen.distributed"
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=120)
    assert "ModuleNotFoundError" in done.stderr
    assert "pip install 'pyxen[distributed]'" in done.stderr


@pytest.mark.parametrize("arguments", [["--uri"], ["--no-such-option", "x"]])
def test_wrong_arguments_of_the_preload_are_refused(arguments: list[str]) -> None:
    program = [sys.executable, "-m", "dask", "worker", "tcp://127.0.0.1:1", "--no-nanny", "--no-dashboard"]
    done = subprocess.run(
        [*program, "--preload", "pyxen.distributed.worker", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    assert arguments[0] in done.stderr
