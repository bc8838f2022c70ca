"""The short way through what the broker sends hands over what nats-py's own parser does."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.bus.connection import _WholeMessages

(THEIRS,) = _WholeMessages.__bases__
"""nats-py's own parser."""
OURS, NOBODYS = (1, 2, 30), 9
"""Subscriptions with a receiver, and one that nats-py keeps for itself."""


class Taken:
    """A connection that notes what its parser hands over, in order."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.receivers = {number: self._receiver(number) for number in OURS}

    def _receiver(self, number: int) -> Any:
        return lambda subject, reply, payload, headers: self.heard.append(
            (number, subject, reply, payload, headers)
        )

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        self.heard.append((sid, subject.decode(), reply.decode() or None, data, headers or None))

    async def _process_ping(self) -> None:
        self.heard.append("ping")

    async def _process_pong(self) -> None:
        self.heard.append("pong")

    async def _process_err(self, text: str) -> None:
        self.heard.append(text)


def run(waiting: Coroutine[Any, Any, None]) -> None:
    """To its end: nothing in it waits."""
    try:
        waiting.send(None)
    except StopIteration:
        return
    raise AssertionError("the parser waits for something")


def message(sid: int, reply: str, payload: bytes, headers: bytes) -> bytes:
    words = [b"HMSG" if headers else b"MSG", b"edge.gateway-0", b"%d" % sid]
    words += [reply.encode()] if reply else []
    words += [b"%d" % len(headers)] if headers else []
    words.append(b"%d" % (len(headers) + len(payload)))
    return b" ".join(words) + b"\r\n" + headers + payload + b"\r\n"


messages = st.builds(
    message,
    st.sampled_from([*OURS, NOBODYS]),
    st.sampled_from(["", "_INBOX.fanout-0.1"]),
    st.binary(max_size=40) | st.just(b"MSG a 1 3\r\nabc\r\n") | st.just(b"\r\n"),
    st.sampled_from([b"", b"", b"NATS/1.0\r\n\r\n"]),
)
lines = st.sampled_from([b"PING\r\n", b"PONG\r\n", b"+OK\r\n", b"-ERR 'slow consumer'\r\n"])


@given(
    st.lists(messages | messages | lines, max_size=12), st.lists(st.integers(1, 60), max_size=30)
)
def test_however_the_stream_is_cut_both_hand_over_the_same(
    said: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(said)
    pieces = []
    for size in [*cuts, len(stream)]:
        pieces.append(stream[:size])
        stream = stream[size:]
    ours, theirs = Taken(), Taken()
    short, long = _WholeMessages(ours), THEIRS(theirs)  # type: ignore[arg-type]
    for piece in pieces:
        run(short.parse(piece))
        run(long.parse(piece))
        assert ours.heard == theirs.heard
        assert bytes(short.buf) == bytes(long.buf)


def test_a_stream_may_be_cut_anywhere() -> None:
    stream = message(1, "", b"one", b"") + message(2, "_INBOX.a.1", b"\r\n", b"") + b"PING\r\n"
    whole = Taken()
    run(_WholeMessages(whole).parse(stream))  # type: ignore[arg-type]
    assert len(whole.heard) == 3
    for place in range(len(stream)):
        taken = Taken()
        parser = _WholeMessages(taken)  # type: ignore[arg-type]
        run(parser.parse(stream[:place]))
        run(parser.parse(stream[place:]))
        assert taken.heard == whole.heard
