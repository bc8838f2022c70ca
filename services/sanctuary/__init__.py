"""sanctuary: rooms and who is in them; the only writer of membership.

In: `ask.sanctuary.<slot>` of its slots (`JoinAsk`, `LeaveAsk`, `FollowAsk`, `MembersAsk`), `control.*`
(gateways' beats; the registry's identities). Out: `member.<slot>` (numbered `MemberBatch`),
`back.<gateway>` (`SeatAnswered`, `FollowAnswered`), `control.<sanctuary>` (`JoinsWanted` after a start,
`RoomsListed`, beats), asks to the registry.
State held: rooms from the seeds, seats, a replica of the identities. All of it is soft: gateways
present kept joins again to one that started.
It knows no grant and sees no sample. A room that somebody may not enter and a room that is not there
get one answer.
"""
