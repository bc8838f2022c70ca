"""What fanout's core shows to whom: forms, audiences, snapshots, narrowing and widening."""

from __future__ import annotations

from shared import codec
from shared.contracts import (
    Audience,
    SampleShown,
    SealShown,
    Skipped,
    StrandEnded,
    StrandShown,
    Struck,
    Tier,
)
from tests.support.fanout_stage import Stage


def city(tier: Tier = Tier.FULL, audience: Audience = Audience.MEMBERS, **policy: object):  # type: ignore[no-untyped-def]
    stage = Stage().start()
    stage.gate()
    sanctuary = stage.room(**policy)  # type: ignore[arg-type]
    ada, ben = stage.citizen("ada"), stage.citizen("ben")
    if tier is not Tier.WITHHELD:
        stage.record(ada, ada.grant(tier, audience=audience))
    return stage, sanctuary, ada, ben


def test_a_member_at_full_sees_the_strand_then_each_sample_in_order() -> None:
    stage, sanctuary, ada, ben = city()
    viewer = stage.join(ben, sanctuary)
    voice = stage.voice(ada, sanctuary)
    voice.speak(3)
    voice.seal_window()
    voice.skip(2)
    voice.close()
    assert [type(message) for message in viewer.log] == [
        StrandShown,
        SampleShown,
        SampleShown,
        SampleShown,
        SealShown,
        Skipped,
        StrandEnded,
    ]
    assert [codec.decode_sample(m.body).seq for m in viewer.of(SampleShown)] == [0, 1, 2]


def test_a_withdrawal_strikes_before_it_is_recorded_and_is_acted_once_passed() -> None:
    stage, sanctuary, ada, ben = city()
    gate = stage.gate()
    gate.passes = False
    viewer = stage.join(ben, sanctuary)
    voice = stage.voice(ada, sanctuary)
    voice.speak()
    gate.forward(ada.withdraw())
    stage.flush()
    assert viewer.log[-1] == Struck(sanctuary, ada.id, None)
    voice.speak()
    assert viewer.log[-1] == Struck(sanctuary, ada.id, None)
    assert gate.acted == []
    gate.pass_markers()
    assert [acted.counter for acted in gate.acted] == [2]
