"""registry: identities, consent and the charter: signed, chained, durable before `recorded`.

In: `ask.registry.0` (`EnrolAsk`, `ChainAsk`, `StateAsk`), `control.*` (gateways' `ConsentForwarded`).
Out: `control.<registry>` (`IdentityRecorded`, `ConsentRecorded`, `ConsentRefused`, numbered, and a
beat every 250 ms), `back.<gateway>` (answers), pages of the state to who asks; the streams `identity`,
`consent` and `charter`, of which it is the only writer.
State held: every citizen's inception and chain, rebuilt from the streams at each start. On disk:
records encrypted under a key of each citizen's own, that key under a weekly key outside JetStream.
It never says `recorded` before the stream has acknowledged, never decides who sees a sample, never
sees one, and lets no key but the identity key widen what is seen.
"""
