"""fanout: decides for every delivery who may see it, and prepares the bytes once for each audience.

The only place where consent is applied to what is live, and the performance core.

In: `sig.<kind>.<slot>`, `member.<slot>`, `control.*` (gateways: withdrawals, passed, tombstones;
registry: identities, consent), `interest.<slot>`, `ask.fanout.<slot>`.
Out: `edge.<gateway>`, `back.<gateway>` (acted), `control.<fanout>`, `field.<slot>`, `record.<slot>`;
asks sanctuary for members, ingest for openings, the registry for its state.
State held, all of it soft: replicas of members, identities and consent; open strands with their newest
sample and seal; pending consent records; what each audience is shown of each citizen.
Never: writes to disk, admits a sample, knows a socket, sends anything of a citizen before it is
certain (`core.certainty`) or without a live grant.
"""
