"""A child's side of the pipe to its parent: orders come in on the loop, news goes out from a thread.

So a parent that is busy, or starved, never holds up a child that measures. (uvloop makes what it polls
non-blocking; a full pipe would then refuse half a message. Here it is made blocking again.)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe
from queue import SimpleQueue
from typing import Any, Self

FAREWELL_S_MAX = 2.0


class Post:
    """An asynchronous context. When the parent is gone, the task that entered it is cancelled."""

    def __init__(self, pipe: Pipe, on_order: Callable[[Any], None]) -> None:
        self._pipe = pipe
        self._on_order = on_order
        self._out: SimpleQueue[bytes | None] = SimpleQueue()
        self._sender = threading.Thread(target=self._send_all, daemon=True)
        self._task: asyncio.Task[Any] | None = None
        self._heard = asyncio.Event()

    def tell(self, message: object) -> None:
        """As it is now, in order; sent when the pipe has room."""
        self._out.put(pickle.dumps(message))

    async def until(self, met: Callable[[], bool]) -> None:
        """Wait for orders until `met`."""
        while not met():
            self._heard.clear()
            await self._heard.wait()

    def _send_all(self) -> None:
        with contextlib.suppress(OSError):  # the parent is gone: the loop hears it too
            while (message := self._out.get()) is not None:
                self._pipe.send_bytes(message)

    def _read(self) -> None:
        try:
            while self._pipe.poll():
                self._on_order(self._pipe.recv())
                self._heard.set()
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self._pipe.fileno())
            assert self._task is not None
            self._task.cancel()

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        asyncio.get_running_loop().add_reader(self._pipe.fileno(), self._read)
        os.set_blocking(self._pipe.fileno(), True)
        self._sender.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._pipe.fileno())
        self._out.put(None)
        self._sender.join(FAREWELL_S_MAX)
