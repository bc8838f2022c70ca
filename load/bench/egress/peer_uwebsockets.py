"""uWebSockets (C++) through `socketify`: what comes on the subject goes to every socket, in C++.

python -m load.bench.egress.peer_uwebsockets PORT NATS_PORT
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import socketify

from load.bench.egress.bus import SUBJECT, Payload, connected


def main() -> None:
    port, nats_port = int(sys.argv[1]), int(sys.argv[2])
    app = socketify.App()

    def opened(ws: Any) -> None:
        ws.subscribe(SUBJECT)

    app.ws("/*", {"compression": socketify.CompressOptions.DISABLED, "open": opened})

    def received(_subject: str, sample: Payload, _reply: str | None) -> None:
        app.publish(SUBJECT, sample.body, socketify.OpCode.BINARY)

    async def listen() -> None:
        async with connected("peer", f"nats://127.0.0.1:{nats_port}") as bus:
            await bus.subscribe(SUBJECT, Payload, received)
            await asyncio.get_running_loop().create_future()

    app.loop.create_background_task(listen)
    app.listen({"port": port, "host": "127.0.0.1"}, lambda _config: None)
    app.run()


if __name__ == "__main__":
    main()
