"""The floor of a run: what a loopback round trip of 128 bytes costs in Python, nothing between."""

from __future__ import annotations

import socket
import threading
import time

ROUNDS = 2000
BYTES = 128


def loopback_echo() -> dict[str, float]:
    """p50 and p99 of a TCP echo between two threads of this process, in ms."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def echo() -> None:
            connection, _ = server.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while chunk := connection.recv(BYTES):
                    connection.sendall(chunk)

        thread = threading.Thread(target=echo, daemon=True)
        thread.start()
        times = []
        with socket.create_connection(server.getsockname()) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            payload = bytes(BYTES)
            for _ in range(ROUNDS):
                began = time.perf_counter_ns()
                client.sendall(payload)
                missing = BYTES
                while missing:
                    missing -= len(client.recv(missing))
                times.append(time.perf_counter_ns() - began)
        thread.join(5)
    times.sort()
    return {
        "p50_ms": times[ROUNDS // 2] / 1e6,
        "p99_ms": times[ROUNDS * 99 // 100] / 1e6,
        "rounds": ROUNDS,
    }
