"""gateway: holds clients' connections.

In: sockets and HTTP on one port; `edge.<self>` (fanout), `back.<self>` (answers to clients),
`control.*` (fanout's beats and fences, sanctuary's wishes, other gateways' beats),
`ask.gateway.<self>` (posts with a session of ours that came to another gateway).
Out: `up.<slot>` (to ingest), `ask.sanctuary.<slot>`, `ask.registry.0`, `ask.fanout.<slot>`,
`ask.gateway.<other>`, `control.<self>` (consent on its way, passed markers, beats), `interest.<slot>`.

Holds: sessions, their granted joins, audiences as fanout told them, what waits to be written, consent
records of the last minute. All of it soft: after a restart clients come back.

Never: decides who sees whom, verifies anything but the token of its own socket, reads a sample, keeps
or logs anything of a person, imports another service.
"""
