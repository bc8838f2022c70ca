import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Desk } from "../../../services/gateway/page/app/desk.js";
import { Ends, SOON_MS } from "../../../services/gateway/page/app/ends.js";
import {
  isRecognisable, mirrors, nextEnd, sentence, wideningWords, widens,
} from "../../../services/gateway/page/app/mirrors.js";
import { ACTED_WITHIN_MS, RECORDED_WITHIN_MS } from "../../../services/gateway/page/app/withdrawal.js";
import { ConsentState } from "../../../services/gateway/page/client/consent_state.js";
import { hex } from "../../../services/gateway/page/client/bytes.js";
import { Audience, Purpose, Tier } from "../../../services/gateway/page/client/records.js";

const filled = (length, byte) => new Uint8Array(length).fill(byte);
const [ROOM, OTHER, ADA] = [filled(16, 1), filled(16, 2), filled(16, 3)];
const T0 = new Date(2026, 10, 20, 20, 0).getTime();
const HOUR = 3_600_000;
const POLICY = { sanctuary: ROOM, tierMax: Tier.FULL, public: false };

let consent;
beforeEach(() => {
  consent = new ConsentState();
});

const grant = (audience, tier, { untilMs = null, sanctuary = ROOM } = {}) =>
  consent.apply({ kind: "grant", purpose: Purpose.LIVE, audience, sanctuary, tier, untilMs });
const approve = () => consent.apply({ kind: "approval", person: ADA, isApproved: true, untilMs: null });
const seen = (changes = {}) => mirrors({
  consent, policy: POLICY, isClose: true, isSpeaking: true, isWithdrawn: false, narrowed: new Map(),
  nowMs: T0, ...changes,
});
const tiers = (changes) => seen(changes).map(({ tier }) => tier);

test("before anything is granted all three mirrors show nothing", () => {
  assert.deepEqual(seen().map(({ who, words }) => `${who}: ${words}`), [
    "This room: nothing", "Followers: nothing", "All others: nothing",
  ]);
});

test("a mirror shows what is received, not what is granted", () => {
  grant(Audience.MEMBERS, Tier.FULL);
  assert.deepEqual(tiers(), [Tier.FULL, 0, 0]);
  assert.deepEqual(tiers({ isSpeaking: false }), [0, 0, 0]);
  assert.equal(seen({ isSpeaking: false })[0].means, "In full once you speak.");
  assert.deepEqual(tiers({ policy: { ...POLICY, tierMax: Tier.COARSE } }), [Tier.COARSE, 0, 0]);
  assert.deepEqual(tiers({ isWithdrawn: true }), [0, 0, 0]);
  assert.deepEqual(tiers({ policy: null }), [0, 0, 0]);
});

test("in a crowd this room turns to counted, and followers stay", () => {
  grant(Audience.MEMBERS, Tier.FULL);
  grant(Audience.FOLLOWERS, Tier.FULL);
  approve();
  assert.deepEqual(tiers({ isClose: false }), [Tier.AGGREGATE, Tier.FULL, 0]);
  assert.equal(seen({ isClose: false })[0].words, "counted");
  assert.equal(seen()[1].who, "Followers (1)");
});

test("without anybody who may follow, followers receive nothing", () => {
  grant(Audience.FOLLOWERS, Tier.FULL);
  assert.deepEqual([seen()[1].tier, seen()[1].words], [Tier.WITHHELD, "nobody yet"]);
});

test("outsiders can be let in on a public stage only", () => {
  grant(Audience.PUBLIC, Tier.FULL);
  assert.ok(seen()[2].isFixed);
  assert.equal(seen()[2].tier, Tier.WITHHELD);
  const stage = { policy: { ...POLICY, public: true } };
  assert.deepEqual([seen(stage)[2].isFixed, seen(stage)[2].tier], [false, Tier.FULL]);
});

test("a grant that has ended shows nothing; one that stands says until when", () => {
  grant(Audience.MEMBERS, Tier.COARSE, { untilMs: T0 + HOUR / 2 });
  assert.equal(seen()[0].until, "20:30");
  assert.deepEqual(nextEnd(seen()), { audience: Audience.MEMBERS, untilMs: T0 + HOUR / 2 });
  const after = seen({ nowMs: T0 + HOUR / 2 });
  assert.deepEqual([after[0].tier, after[0].until, nextEnd(after)], [Tier.WITHHELD, "", null]);
});

test("an end is said five minutes before, and once when it has come", () => {
  const end = { audience: Audience.MEMBERS, untilMs: T0 + HOUR / 2 };
  grant(Audience.MEMBERS, Tier.COARSE, end);
  const ends = new Ends();
  const look = (nowMs, isWithdrawn = false) => ends.look(seen({ nowMs, isWithdrawn }), nowMs, { isWithdrawn });
  assert.deepEqual(look(end.untilMs - SOON_MS - 1), { soon: null, ended: null });
  assert.deepEqual(look(end.untilMs - SOON_MS), { soon: end, ended: null });
  assert.deepEqual(look(end.untilMs), { soon: null, ended: end });
  assert.deepEqual(look(end.untilMs + 1), { soon: null, ended: null });
  look(end.untilMs - 1);
  assert.deepEqual(look(end.untilMs, true), { soon: null, ended: null }, "withdrawn before it ended");
});

test("less is painted before it is recorded, more is not", () => {
  grant(Audience.MEMBERS, Tier.FULL);
  const narrowed = (tier) => tiers({ narrowed: new Map([[Audience.MEMBERS, tier]]) })[0];
  assert.equal(narrowed(Tier.COARSE), Tier.COARSE);
  assert.equal(narrowed(Tier.WITHHELD), Tier.WITHHELD);
});

test("what widens is more, or for longer", () => {
  const now = { granted: Tier.COARSE, untilMs: T0 };
  const wanted = (tier, untilMs) => widens(now, { tier, untilMs });
  assert.ok(wanted(Tier.FULL, T0));
  assert.ok(wanted(Tier.COARSE, T0 + 1));
  assert.ok(wanted(Tier.AGGREGATE, null));
  assert.ok(!wanted(Tier.COARSE, T0));
  assert.ok(!wanted(Tier.AGGREGATE, T0 - 1));
  assert.ok(!wanted(Tier.WITHHELD, null));
  assert.ok(!widens({ granted: Tier.FULL, untilMs: null }, { tier: Tier.COARSE, untilMs: T0 }));
});

test("what one agrees to is one sentence with its end", () => {
  const until = { untilMs: T0 + HOUR / 2 };
  assert.equal(
    sentence(Audience.MEMBERS, { tier: Tier.COARSE, ...until }, T0),
    "This room sees you as one of 25 cells, without a name, once a second, until 20:30. What was seen stays seen.",
  );
  assert.equal(
    sentence(Audience.FOLLOWERS, { tier: Tier.FULL, untilMs: null }, T0),
    "Your followers see your exact place, your name, your words and your notes until you withdraw it. "
      + "What was seen stays seen.",
  );
  assert.match(
    sentence(Audience.PUBLIC, { tier: Tier.FULL, ...until }, T0), /^Everybody, without an account, sees your exact/,
  );
  assert.equal(
    wideningWords(Audience.MEMBERS, { tier: Tier.FULL, untilMs: null }, T0),
    "Let this room see me in full until I withdraw it",
  );
});

test("seen in full elsewhere, one can be recognised as a cell here", () => {
  const here = { consent, sanctuary: hex(ROOM), nowMs: T0 };
  grant(Audience.MEMBERS, Tier.FULL, { sanctuary: ROOM });
  assert.ok(!isRecognisable(here, Tier.COARSE));
  grant(Audience.MEMBERS, Tier.FULL, { sanctuary: OTHER, untilMs: T0 + HOUR });
  assert.ok(isRecognisable(here, Tier.COARSE));
  assert.ok(!isRecognisable(here, Tier.FULL));
  assert.ok(!isRecognisable({ ...here, nowMs: T0 + HOUR }, Tier.COARSE));
});

// ── the desk ────────────────────────────────────────────────────────────────────────────────────

const WITHDRAWN = { kind: "withdrawal", of: {} };

test("a withdrawal goes through its three steps, each with its ms, in either order", () => {
  for (const order of [["acted", "recorded"], ["recorded", "acted"]]) {
    const desk = new Desk();
    const withdrawal = desk.withdraw(1000, 3);
    withdrawal.counter = 4;
    assert.deepEqual([withdrawal.step, withdrawal.times], ["asked", ""]);
    order.forEach((name, i) => desk[name]({ counter: 4, ...WITHDRAWN }, 1038 + 23 * i));
    assert.equal(withdrawal.step, "recorded");
    assert.deepEqual(desk.withdrawals, []);
    assert.match(withdrawal.times, order[0] === "acted" ? /^acted 38 ms, recorded 61 ms$/ : /^acted 61 ms, recorded 38 ms$/);
    assert.equal(desk.withdrawal, withdrawal, "it stands until something is granted");
  }
});

test("written down and not carried out is not withdrawn: it becomes late", () => {
  const desk = new Desk();
  const withdrawal = desk.withdraw(0, 0);
  withdrawal.counter = 1;
  desk.recorded({ counter: 1, ...WITHDRAWN }, 20);
  assert.equal(withdrawal.step, "asked");
  assert.ok(!withdrawal.isLate(ACTED_WITHIN_MS - 1));
  assert.ok(withdrawal.isLate(ACTED_WITHIN_MS));
  desk.acted({ counter: 1 }, 1500);
  assert.ok(!withdrawal.isLate(2000));
});

test("acted and not written down is said after a while", () => {
  const desk = new Desk();
  const withdrawal = desk.withdraw(0, 0);
  desk.acted({ counter: 1 }, 40);
  assert.ok(!withdrawal.isUnwritten(40 + RECORDED_WITHIN_MS - 1));
  assert.ok(withdrawal.isUnwritten(40 + RECORDED_WITHIN_MS));
});

test("before the chain is known a withdrawal is what comes behind the last known record", () => {
  const desk = new Desk();
  const withdrawal = desk.withdraw(0, 7);
  assert.deepEqual(desk.acted({ counter: 7 }, 10), []);
  assert.deepEqual(desk.acted({ counter: 8 }, 10), [withdrawal]);
});

test("an acted that was lost with its connection is not waited for; one on a live connection is", () => {
  const desk = new Desk();
  const withdrawal = desk.withdraw(0, 0);
  withdrawal.counter = 1;
  assert.deepEqual(desk.found(1), []);
  desk.cut();
  assert.deepEqual(desk.found(0), []);
  assert.deepEqual(desk.found(1), [withdrawal]);
  assert.ok(!withdrawal.isLate(10_000) && withdrawal.isOver);
});

test("a new grant ends the state of being withdrawn, another withdrawal does not", () => {
  const desk = new Desk();
  desk.withdraw(0, 0).counter = 1;
  desk.acted({ counter: 1 }, 1);
  desk.recorded({ counter: 1, ...WITHDRAWN }, 2);
  desk.recorded({ counter: 2, ...WITHDRAWN }, 3);
  assert.ok(desk.withdrawal !== null);
  desk.recorded({ counter: 3, kind: "grant", of: { tier: Tier.WITHHELD } }, 4);
  assert.ok(desk.withdrawal !== null);
  desk.recorded({ counter: 4, kind: "grant", of: { tier: Tier.COARSE } }, 5);
  assert.equal(desk.withdrawal, null);
});

test("a grant that was asked for before a withdrawal does not undo it", () => {
  const desk = new Desk();
  desk.withdraw(0, 1).counter = 2;
  desk.recorded({ counter: 1, kind: "grant", of: { tier: Tier.FULL } }, 1);
  assert.ok(desk.withdrawal !== null);
});

test("what has no counter yet is what comes behind the last known record", () => {
  const desk = new Desk();
  const asked = desk.ask({ key: "audience 0", tier: Tier.FULL, isNarrowing: false }, 0, 4);
  desk.recorded({ counter: 4, kind: "grant", of: { tier: Tier.FULL } }, 1);
  assert.equal(asked.step, "asked");
  desk.recorded({ counter: 5, kind: "grant", of: { tier: Tier.FULL } }, 2);
  assert.equal(asked.step, "recorded");
});

test("of one room's withdrawal the rest of the page is not withdrawn", () => {
  const desk = new Desk();
  desk.withdraw(0, 0, { isAll: false });
  assert.equal(desk.withdrawal, null);
  assert.equal(desk.withdrawals.length, 1);
});

test("what was asked for is told with its step, and narrows until it is recorded", () => {
  const desk = new Desk();
  const less = desk.ask({ key: "audience 0", tier: Tier.COARSE, isNarrowing: true }, 0, 4);
  const more = desk.ask({ key: "audience 2", tier: Tier.FULL, isNarrowing: false }, 0, 5);
  [less.counter, more.counter] = [5, 6];
  assert.deepEqual([...desk.narrowed], [["audience 0", Tier.COARSE]]);
  desk.acted({ counter: 5 }, 30);
  assert.deepEqual([less.step, less.afterMs, desk.narrowed.size], ["acted", 30, 1]);
  desk.recorded({ counter: 5, kind: "grant", of: { tier: Tier.COARSE } }, 40);
  assert.deepEqual([less.step, less.afterMs, desk.narrowed.size], ["recorded", 40, 0]);
  desk.refused({ counter: 6, reason: "stale" }, 50);
  assert.deepEqual([desk.about("audience 2", 60).step, more.reason], ["refused", "stale"]);
  assert.equal(desk.about("audience 2", 60_000), null, "it does not stand for ever");
  assert.equal(desk.about("audience 1", 0), null);
});
