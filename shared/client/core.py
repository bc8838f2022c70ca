"""Door to the pure client: `from shared.client.core import Session, Viewer, Accounts`.

The one-way street of its modules: keyring, frames ← strand, consent ← session; viewer, accounts.
"""

from shared.client.accounts import Accounts, AccountsReport, GrantsSigned
from shared.client.consent import ConsentChain
from shared.client.events import (
    ChainKnown,
    Declined,
    Event,
    FollowsTaken,
    Interrupted,
    MoveWanted,
    NumbersRefused,
    RecordActed,
    RecordDeclined,
    RecordDurable,
    Seated,
    SeatRefused,
    SessionReady,
    StrandClosedByUs,
    VoiceOpened,
    WindowTaken,
)
from shared.client.frames import (
    decode_frame,
    decode_frame_json,
    encode_frames,
    encode_frames_json,
    to_builtins,
)
from shared.client.keyring import Keyring
from shared.client.session import Session
from shared.client.strand import Mood, StrandWriter, Tally
from shared.client.viewer import Viewer, WindowJudged, WindowState

__all__ = [
    "Accounts",
    "AccountsReport",
    "ChainKnown",
    "ConsentChain",
    "Declined",
    "Event",
    "FollowsTaken",
    "GrantsSigned",
    "Interrupted",
    "Keyring",
    "Mood",
    "MoveWanted",
    "NumbersRefused",
    "RecordActed",
    "RecordDeclined",
    "RecordDurable",
    "SeatRefused",
    "Seated",
    "Session",
    "SessionReady",
    "StrandClosedByUs",
    "StrandWriter",
    "Tally",
    "Viewer",
    "VoiceOpened",
    "WindowJudged",
    "WindowState",
    "WindowTaken",
    "decode_frame",
    "decode_frame_json",
    "encode_frames",
    "encode_frames_json",
    "to_builtins",
]
