"""uWebSockets (C++) through `socketify`: what comes on the subject goes to every socket, in C++.

python -m load.bench.egress.peer_uwebsockets PORT NATS_PORT
"""

from __future__ import annotations

import sys
from typing import Any

import nats
import socketify

SUBJECT = "samples"


def main() -> None:
    port, nats_port = int(sys.argv[1]), int(sys.argv[2])
    app = socketify.App()

    def opened(ws: Any) -> None:
        ws.subscribe(SUBJECT)

    app.ws("/*", {"compression": socketify.CompressOptions.DISABLED, "open": opened})

    async def listen() -> None:
        connection = await nats.connect(f"nats://127.0.0.1:{nats_port}")

        async def received(message: Any) -> None:
            app.publish(SUBJECT, message.data, socketify.OpCode.BINARY)

        await connection.subscribe(SUBJECT, cb=received)

    app.on_start(listen)
    app.listen({"port": port, "host": "127.0.0.1"}, lambda _config: None)
    app.run()


if __name__ == "__main__":
    main()
