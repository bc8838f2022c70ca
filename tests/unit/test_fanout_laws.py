"""Laws of fanout's core over random lives of a small city, each delivery judged by a second oracle.

The oracle knows only the records that were signed and handed in, the policies and the clock; it
shares with the core the pure decision, never its caches, routes or pending states.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import cycle
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.fanout.core.coarse import cell_of
from shared import codec
from shared.consent import effective_tier, preview
from shared.contracts import (
    Audience,
    Coarse,
    ConsentRecord,
    EdgeBatch,
    FeedWindow,
    Kind,
    Purpose,
    Released,
    SampleShown,
    SealShown,
    Signed,
    Skipped,
    StrandEnded,
    StrandShown,
    Struck,
    Tier,
)
from shared.identifiers import slot_of
from tests.support.fanout_stage import Citizen, Stage, Viewer, Voice, id16

COMMONS, STAGE = id16("commons"), id16("stage")
NAMES = ("ada", "ben", "cleo")
AT_FULL = (StrandShown, SampleShown, SealShown, Skipped, StrandEnded, Released)


class Life:
    """A city whose every delivery is watched, and the things that can happen in it."""

    def __init__(self, *, close_limit: int) -> None:
        self.stage = stage = Stage(sorted({slot_of(COMMONS), slot_of(STAGE)}))
        stage.witness = self.judge
        stage.fed_witness = self.judge_feed
        stage.start()
        self.gates = [stage.gate("gateway-0"), stage.gate("gateway-1")]
        stage.room("commons", close_limit=close_limit, close_back=close_limit - 1)
        stage.room("stage", Kind.STAGE, public=True)
        self.citizens = [stage.citizen(name) for name in NAMES]
        self.of = {citizen.id: citizen for citizen in self.citizens}
        self.forwarded: dict[bytes, list[Signed]] = defaultdict(list)
        self.voices: list[Voice] = []
        self.viewers: list[Viewer] = []
        self.seen: set[tuple[int, bytes, bytes]] = set()
        self.moods = cycle((v, a) for v in range(-900, 1000, 400) for a in range(-900, 1000, 400))
        """Each in a cell of its own."""
        self.citizen_of: dict[bytes, bytes] = {}
        """Pseudonym → citizen."""
        self.meant: dict[bytes, dict[bytes | None, Tier]] = {}
        """Body → person (nil: the public) → how closely it might be seen when it was said."""
        for citizen, tier in zip(
            self.citizens, (Tier.FULL, Tier.COARSE, Tier.AGGREGATE), strict=True
        ):
            stage.record(citizen, citizen.grant(tier))
        for gate in self.gates:
            gate.watch(STAGE)
            for sanctuary in (COMMONS, STAGE):
                self.viewers.append(stage.join(self.citizens[1], sanctuary, gate))

    # ── the oracle ───────────────────────────────────────────────────────────────────────────────

    def tier(
        self,
        citizen: Citizen,
        sanctuary: bytes,
        audience: Audience,
        *,
        person: bytes | None = None,
        purpose: Purpose = Purpose.LIVE,
    ) -> Tier:
        """The least over what is recorded and every prefix of what was handed in."""
        states = [citizen.state]
        for signed in self.forwarded[citizen.id]:
            record: ConsentRecord = codec.decode(signed.payload, ConsentRecord)  # type: ignore[arg-type]
            states.append(preview(states[-1], record))
        return min(
            effective_tier(
                state,
                policy=self.stage.rooms[sanctuary],
                charter_tier_max=Tier.FULL,
                audience=audience,
                now_ms=self.stage.now_ms,
                purpose=purpose,
                person=person,
            )
            for state in states
        )

    def allows(self, viewer: Viewer, citizen: bytes) -> Tier:
        """As the viewer's room is now: one that has outgrown closeness shows only followers anyone."""
        audience = Audience.PUBLIC if viewer.person is None else Audience.MEMBERS
        who, where = self.of[citizen], viewer.sanctuary
        tier = Tier.WITHHELD
        if viewer.screen.is_close:
            tier = self.tier(who, where, audience, person=viewer.person)
        if citizen in viewer.followed:
            follower = self.tier(who, where, Audience.FOLLOWERS, person=viewer.person)
            tier = max(tier, follower)
        return tier

    def judge(self, viewer: Viewer, citizen: bytes | None, message: Any) -> None:
        if citizen is None:
            return
        tier = self.allows(viewer, citizen)
        if isinstance(message, AT_FULL):
            assert tier is Tier.FULL, "no signature reaches an audience without a live grant"
            assert citizen not in {
                self.citizen_of[pseudonym] for pseudonym in viewer.screen.cells
            }, "nobody receives a citizen twice"
        if isinstance(message, SampleShown | StrandShown) and message.body is not None:
            assert self.meant[message.body][viewer.person] is Tier.FULL, (
                "what was said out of somebody's sight stays out of it"
            )
        if isinstance(message, SampleShown):
            key = (id(viewer), message.strand, message.body)
            assert key not in self.seen, "nothing twice"
            self.seen.add(key)
        if isinstance(message, Coarse):
            assert tier >= Tier.COARSE, "no signature reaches an audience without a live grant"
            self.citizen_of.setdefault(message.pseudonym, citizen)
            if message.cell is not None:
                assert message.cell in {
                    cell_of(codec.decode_sample(body))
                    for body, tiers in self.meant.items()
                    if tiers[viewer.person] >= Tier.COARSE
                }, "what was said out of somebody's sight stays out of it"
            assert self.citizen_of[message.pseudonym] == citizen, "a pseudonym means one citizen"
            shown = {strand.citizen for strand in viewer.screen.strands.values()}
            assert citizen not in shown, "nobody receives a citizen twice"
            others = [
                pseudonym
                for pseudonym in viewer.screen.cells
                if pseudonym != message.pseudonym and self.citizen_of[pseudonym] == citizen
            ]
            assert others == [], "one pseudonym at a time"

    def judge_feed(self, feed: str, window: FeedWindow) -> None:
        citizen = self.of[window.citizen]
        public = self.stage.rooms[window.sanctuary].public
        audience = Audience.PUBLIC if public else Audience.MEMBERS
        if feed == "field":
            tier = self.tier(citizen, window.sanctuary, audience)
            assert tier >= Tier.AGGREGATE, "the field holds only whom it may"
        else:
            tier = self.tier(citizen, window.sanctuary, audience, purpose=Purpose.RECORD)
            assert tier >= Tier.COARSE, "the record holds only whom it may"

    # ── what can happen ──────────────────────────────────────────────────────────────────────────

    def consent(self, which: int, gate: int, record: str, tier: int, option: int) -> None:
        citizen = self.citizens[which]
        sanctuary = (None, COMMONS, STAGE)[option % 3]
        until_ms = (None, None, self.stage.now_ms + 700)[option % 3 if tier % 2 else 0]
        match record:
            case "grant":
                signed = citizen.grant(
                    Tier(tier),
                    audience=Audience(option % 3),
                    sanctuary=sanctuary,
                    purpose=Purpose.RECORD if option == 5 else Purpose.LIVE,
                    until_ms=until_ms,
                )
            case "except":
                signed = citizen.except_(
                    self.citizens[1].id, Tier(tier), sanctuary=sanctuary, until_ms=until_ms
                )
            case "approve":
                signed = citizen.approve(
                    self.citizens[option % 3].id, is_approved=tier > 0, until_ms=until_ms
                )
            case _:
                signed = citizen.withdraw(sanctuary=sanctuary)
        self.forwarded[citizen.id].append(signed)
        self.gates[gate].forward(signed)
        self.stage.flush()

    def settle(self, which: int, *, recorded: bool) -> None:
        citizen = self.citizens[which]
        records = self.forwarded.pop(citizen.id, [])
        if recorded:
            self.forwarded[citizen.id] = records
            for signed in records:
                self.forwarded[citizen.id] = self.forwarded[citizen.id][1:]
                self.stage.record(citizen, signed)
        else:
            self.stage.refuse(citizen, *records)

    def exception(self, which: int, tier: int) -> None:
        """Made, and recorded at once."""
        self.consent(which, 0, "except", tier, 0)
        self.settle(which, recorded=True)

    def befriend(self, which: int, tier: int) -> None:
        """Followers are granted a tier, somebody is approved, both recorded; and follows everywhere."""
        citizen, person = self.citizens[which], self.citizens[(which + 1) % 3]
        self.settle(which, recorded=True)
        granted = citizen.grant(Tier(tier), audience=Audience.FOLLOWERS)
        self.stage.record(citizen, granted, citizen.approve(person.id))
        for viewer in self.viewers:
            if viewer.person == person.id:
                self.stage.follow(viewer, citizen)

    def speak(self, which: int, count: int, *, seals: bool) -> None:
        if self.voices:
            voice = self.voices[which % len(self.voices)]
            voice.epoch = voice.citizen.state.counter
            for _ in range(count):
                valence, arousal = next(self.moods)
                body = voice.body_of(voice.next_seq, valence=valence, arousal=arousal)
                self.say(voice, body)
                voice.speak(valence=valence, arousal=arousal)
            if seals:
                voice.seal_window()

    def say(self, voice: Voice, body: bytes) -> None:
        """Note to whom it is said, at this moment."""
        self.meant[body] = {
            person: max(
                self.tier(voice.citizen, voice.sanctuary, audience, person=person)
                for audience in (
                    (Audience.PUBLIC,) if person is None else (Audience.MEMBERS, Audience.FOLLOWERS)
                )
            )
            for person in (None, *self.of)
        }

    def open(self, which: int, room: int) -> None:
        if len(self.voices) < 6:
            voice = self.stage.voice(self.citizens[which], (COMMONS, STAGE)[room])
            self.voices.append(voice)

    def close(self, which: int) -> None:
        if self.voices:
            self.voices.pop(which % len(self.voices)).close()

    def join(self, which: int, room: int, gate: int) -> None:
        if len(self.viewers) < 10:
            viewer = self.stage.join(self.citizens[which], (COMMONS, STAGE)[room], self.gates[gate])
            self.viewers.append(viewer)

    def leave(self, which: int) -> None:
        if len(self.viewers) > 1:
            self.stage.leave(self.viewers.pop(which % len(self.viewers)))

    def follow(self, which: int, whom: int) -> None:
        """A viewer follows some of the citizens: a bit for each."""
        viewer = self.viewers[which % len(self.viewers)]
        followed = [citizen for bit, citizen in enumerate(self.citizens) if whom >> bit & 1]
        self.stage.follow(viewer, *followed)

    def limit(self, tier: int) -> None:
        self.stage.policy(STAGE, tier_max=Tier(tier))

    def lose_edge(self) -> None:
        """The next edge batch is lost on the bus."""
        losses = [1]

        def lose(publish: Any) -> bool:
            return isinstance(publish.event, EdgeBatch) and bool(losses and losses.pop())

        self.stage.lose = lose

    def lose_sig(self, which: int) -> None:
        if self.voices:
            voice = self.voices[which % len(self.voices)]
            voice.body = voice.body_of(voice.next_seq)
            self.say(voice, voice.body)
            voice.next_seq += 1
            self.stage.sig(voice, lost=True)

    def lose_control(self, gate: int) -> None:
        self.gates[gate].next_number()

    def converge(self) -> None:
        """Time for every hole to show and be filled, without an end of a hold."""
        self.stage.lose = lambda _: False
        for sanctuary in (COMMONS, STAGE):
            self.stage.sig_beat(sanctuary)
        self.stage.advance(1300)
        for gate in self.gates:
            gate.interest(STAGE, 1)
        self.stage.flush()

    def compare(self) -> None:
        """Snapshot + events == state, for each who is there."""
        self.converge()
        for viewer in list(self.viewers):
            assert viewer.person is not None
            twin = self.stage.join(self.of[viewer.person], viewer.sanctuary, self.gates[0])
            assert viewer.is_in
            self.stage.follow(twin, *(self.of[citizen] for citizen in viewer.followed))
            assert twin.screen.state == viewer.screen.state, "snapshot + events == state"
            self.stage.leave(twin)
        publics = [gate.public[STAGE].screen.state for gate in self.gates]
        assert publics[0] == publics[1]
        self.gates[0].public[STAGE].is_in = False
        self.gates[0].watch(STAGE, 2)
        assert self.gates[0].public[STAGE].screen.state == publics[1]
        # what may be seen is seen
        for viewer in self.viewers:
            for voice in self.voices:
                if voice.sanctuary == viewer.sanctuary:
                    full = self.allows(viewer, voice.citizen.id) is Tier.FULL
                    assert (voice.strand in viewer.screen.strands) is full, "nobody starves"


few = st.integers(0, 2)
two = st.integers(0, 1)
steps = st.one_of(
    st.tuples(st.just("speak"), st.integers(0, 5), st.integers(1, 4), st.booleans()),
    st.tuples(st.just("open"), few, two),
    st.tuples(
        st.just("consent"),
        few,
        two,
        st.sampled_from(("grant", "except", "approve", "withdraw")),
        st.integers(0, 3),
        st.integers(0, 5),
    ),
    st.tuples(st.just("settle"), few, st.booleans()),
    st.tuples(st.just("follow"), st.integers(0, 9), st.integers(0, 7)),
    st.tuples(st.just("befriend"), few, st.integers(1, 3)),
    st.tuples(st.just("exception"), two, st.sampled_from((0, 2, 3, 3))),
    st.tuples(st.just("advance"), st.sampled_from((1, 40, 300, 1000, 11_000))),
    st.tuples(st.just("close"), st.integers(0, 5)),
    st.tuples(st.just("join"), few, two, two),
    st.tuples(st.just("leave"), st.integers(0, 9)),
    st.tuples(st.just("limit"), st.integers(0, 3)),
    st.tuples(st.just("lose_edge")),
    st.tuples(st.just("lose_sig"), st.integers(0, 5)),
    st.tuples(st.just("lose_control"), two),
    st.tuples(st.just("compare")),
)


def play(life: Life, script: list[tuple[Any, ...]]) -> None:
    for name, *arguments in script:
        match name:
            case "speak":
                life.speak(arguments[0], arguments[1], seals=arguments[2])
            case "settle":
                life.settle(arguments[0], recorded=arguments[1])
            case "advance":
                life.stage.advance(arguments[0])
                for gate in life.gates:
                    gate.interest(STAGE, 1)
                life.stage.flush()
            case _:
                getattr(life, name)(*arguments)
    life.compare()


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
@given(
    script=st.lists(steps, min_size=5, max_size=40),
    close_limit=st.sampled_from((1, 2, 50)),
    excepts=st.booleans(),
)
def test_the_laws_hold_in_any_life(
    script: list[tuple[Any, ...]],
    close_limit: int,
    excepts: bool,  # noqa: FBT001  (hypothesis gives it by name)
) -> None:
    """No signature without a live grant; what was said out of somebody's sight stays out of it;
    nothing after struck; order within a strand and every number accounted for; nobody receives a
    citizen twice; snapshot + events == state; nobody starves.
    """
    life = Life(close_limit=close_limit)
    life.open(0, 0)
    life.open(1, 1)
    if excepts:
        life.exception(0, 0)
        life.speak(0, 1, seals=True)
    play(life, script)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(script=st.lists(steps, min_size=5, max_size=25))
def test_coarse_records_are_of_one_size_sorted_and_one_for_each_pseudonym_and_tick(
    script: list[tuple[Any, ...]],
) -> None:
    life = Life(close_limit=50)
    for which in range(3):
        life.stage.record(life.citizens[which], life.citizens[which].grant(Tier.COARSE))
        life.open(which, 0)
        life.speak(which, 1, seals=False)
    life.stage.advance(1100)
    play(life, script)
    assert all(gate.coarse_sizes for gate in life.gates)


def test_a_struck_strand_is_not_followed_by_anything_until_it_is_shown_again() -> None:
    life = Life(close_limit=50)
    life.open(0, 0)
    life.speak(0, 3, seals=True)
    life.consent(0, 0, "withdraw", 0, 0)
    life.speak(0, 3, seals=True)
    for viewer in life.viewers:
        if viewer.sanctuary == COMMONS:
            assert isinstance(viewer.log[-1], Struck)
