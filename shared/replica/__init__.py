"""Numbered replicas: what a service keeps of another's state, exact in spite of losses. Pure.

`MembersReplica` follows sanctuary's `member.<slot>`, `RegistryReplica` the registry's control
messages. Both see holes by (epoch, number), ask for the whole state until answered, keep what
arrives meanwhile (bounded), and return the differences in order, so that their owner can act.

An owner of a replica passes everything on the subject to `receive`, each answer to `answered`, and
carries out `asks(now_ns)` whenever it was called or `next_deadline()` has come.
"""

from shared.replica.members import (
    HELD_BATCHES_MAX,
    MemberChange,
    MembersReplica,
    Room,
    RoomGone,
    RoomStood,
    SessionFollows,
    SessionJoined,
    SessionLeft,
    SlotCompleted,
)
from shared.replica.pace import ASK_AGAIN_NS
from shared.replica.registry import (
    HELD_CONTROL_MAX,
    CitizenForgotten,
    ConsentKnown,
    ConsentNotTaken,
    IdentityKnown,
    RegistryChange,
    RegistryCompleted,
    RegistryReplica,
)

__all__ = [
    "ASK_AGAIN_NS",
    "HELD_BATCHES_MAX",
    "HELD_CONTROL_MAX",
    "CitizenForgotten",
    "ConsentKnown",
    "ConsentNotTaken",
    "IdentityKnown",
    "MemberChange",
    "MembersReplica",
    "RegistryChange",
    "RegistryCompleted",
    "RegistryReplica",
    "Room",
    "RoomGone",
    "RoomStood",
    "SessionFollows",
    "SessionJoined",
    "SessionLeft",
    "SlotCompleted",
]
