"""An event loop's selector whose timer is exact to some 60 µs, where epoll's own rounds up to 1 ms."""

from __future__ import annotations

import select
import selectors


class FineSelector(selectors.EpollSelector):
    """Waits on the epoll descriptor itself with `select`, which takes microseconds, then polls."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0:
            select.select([self.fileno()], [], [], timeout)
            timeout = 0
        return super().select(timeout)
