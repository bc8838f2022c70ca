"""ingest: admits what citizens say, number by number, and refuses the rest by name.

In: `up.<slot>` (queue group `ingest`) openings, samples, seals, releases and whole windows, from
gateways;
`member.<slot>` from sanctuary and `control.<registry>` (both as numbered replicas);
`ask.ingest.<slot>` openings, from fanout, and the challenge, from gateways.
Out: `sig.<kind>.<slot>` what was admitted, sealed, skipped, opened, closed, released;
`back.<gateway>` answers to sessions; `ask.sanctuary.<slot>`, `ask.registry.0`.
State: open strands with the bodies of their unsealed windows, ended strands for five minutes, a rate
for each citizen, a conduct for each device; replicas of members and identities. All of it is soft:
a process that starts has a new challenge and says `reopen`.
Never: decides who sees whom, knows a grant, writes to disk, logs a citizen, a value or a note.
"""
