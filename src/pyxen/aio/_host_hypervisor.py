"""Xen itself on a host, for asyncio: its log, its debug keys, its parameters.

Generated from `pyxen._host_hypervisor` by ``python -m tools.aio_face``: do not edit.
"""

from __future__ import annotations

from pyxen._common.arguments import check_bools
from pyxen._local import Local
from pyxen.aio._calls import Calls
from pyxen.aio.devicetree import DeviceTree
from pyxen.aio.flask import Flask
from pyxen.aio.hypfs import Hypfs
from pyxen.aio.psr import Psr
from pyxen.aio.readers.log import LogReader
from pyxen.backends.base import Backend
from pyxen.readers.log import log_text

__all__ = ["HostHypervisor"]


class HostHypervisor(Local):
    """The verbs of `Host` for Xen itself, awaited.

    Attributes:
        hypfs: The values in Xen's own file system: ``await host.hypfs["/params/loglvl"]``.
        flask: Xen's security module.
        psr: Caches and memory bandwidth: who uses them, and who may.
        device_tree: Overlays of the device tree, on Arm.
    """

    def __init__(self, backend: Backend, calls: Calls) -> None:
        self._backend = backend
        self._calls = calls
        self.hypfs = Hypfs(backend, calls)
        self.flask = Flask(backend, calls)
        self.psr = Psr(backend, calls)
        self.device_tree = DeviceTree(backend, calls)

    async def log(self, *, clear: bool = False) -> str:
        r"""Return the log that Xen keeps, as ``xl dmesg``.

        Xen keeps the end of its log only; its command line option ``conring_size`` says how much. The text is as Xen
        wrote it: control characters stay, so escape it before you show it in a terminal. Bytes that are not UTF-8
        appear as ``\xff``.

        Args:
            clear: Clear what is returned, as ``xl dmesg -c``. What Xen writes meanwhile is not lost.

        Raises:
            UnsupportedFeature: This backend does not see the log.
            OperationFailed: Xen refuses.
        """
        check_bools("log", clear=clear)
        if clear:
            chunk = await self._calls.change(lambda: self._backend.log(None, clear=True))
        else:
            chunk = await self._calls.ask(lambda: self._backend.log(None, clear=False))
        return log_text(chunk.data)

    def follow_log(self, *, whole: bool = False, timeout: float | None = None) -> LogReader:
        """Return a reader of the lines that Xen writes to its log from now on.

        ::

            with host.follow_log(timeout=60) as lines:
                for line in lines:
                    ...

        Xen does not say when it writes, so the reader looks ten times a second.

        Args:
            whole: Begin with what the log has already.
            timeout: Seconds after which the reader ends. None reads until it or the host is closed.

        Raises:
            UnsupportedFeature: This backend does not see the log.
            InvalidArgument: `timeout` is not a number of seconds.
            OperationFailed: Xen refuses.
        """
        return LogReader(self._backend, self._calls, whole=whole, timeout=timeout)

    async def debug_keys(self, keys: str) -> None:
        """Send Xen debug keys, as ``xl debug-keys``; it writes its answers to its log.

        ``h`` lists the keys in the log. Some do more than that: ``R`` reboots the host, ``C`` crashes it. Xen ignores
        keys that it does not know.

        Args:
            keys: One key or several: printable ASCII characters.

        Raises:
            InvalidArgument: It has no keys, or something else.
            UnsupportedFeature: This backend does not send debug keys.
            OperationFailed: Xen refuses.
        """
        await self._calls.finish(lambda: self._backend.debug_keys(keys))

    async def set_parameters(self, parameters: str) -> None:
        """Change parameters of Xen's command line while it runs, as ``xl set-parameters``.

        `hypfs` shows which ones can be changed, and their values: ``host.hypfs.list("/params")``.

        Args:
            parameters: As on the command line, separated by blanks: ``"loglvl=all"``, ``"noept"``.

        Raises:
            NotFound: Xen has no such parameter, or it cannot be changed while Xen runs.
            InvalidArgument: It is not a list of parameters, or Xen refuses a value. Those before it are set.
            UnsupportedFeature: This backend, or this Xen, does not change parameters.
        """
        await self._calls.finish(lambda: self._backend.set_parameters(parameters))
