"""Egress: from a batch on the bus to a thousand sockets, beside C++, Go and the floor, in one run.

`__main__` plays the cases, `measure` plays one of them, `servers` starts the city and its peers,
`schedule` says what is due when, `citizens` seats those who speak and those who look on, `ingest` stands
in for the service of that name, `peers` are the other servers' processes, `sink.c` reads and `floor.c`
only writes.
"""
