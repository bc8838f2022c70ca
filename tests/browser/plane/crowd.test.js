import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Change, Crowd } from "../../../services/gateway/page/plane/crowd.js";
import { plainText } from "../../../services/gateway/page/plane/mark.js";

const T0 = 1_700_000_000_000;
const [ADA, BOB] = ["00".repeat(16), "01".repeat(16)];
const OF = { [ADA]: "aa".repeat(32), [BOB]: "bb".repeat(32) };
const NAMES = { [ADA]: "Ada", [BOB]: "Bob" };

let crowd;

beforeEach(() => {
  crowd = new Crowd();
});

const feeling = (seq, valence = 0, arousal = 0) => ({ seq, valence, arousal, labels: [], note: null });

function shown(citizen, nowMs = T0, sample = null, strand = OF[citizen]) {
  crowd.see({ type: "strand", strand, citizen, name: NAMES[citizen], sample }, nowMs);
}

function says(citizen, sample, nowMs, strand = OF[citizen]) {
  crowd.see({ type: "sample", strand, citizen, sample }, nowMs);
}

function judged(citizen, state, nowMs, strand = OF[citizen], first = 0) {
  crowd.see({ type: "window", strand, citizen, window: 0, first, last: first, state }, nowMs);
}

const snapshot = (strands, pseudonyms = []) => crowd.see({ type: "snapshot", strands, pseudonyms }, T0);
const cell = (pseudonym, at) => crowd.see({ type: "coarse", tick: 1, pseudonym, cell: at }, T0);
const struck = (of) => crowd.see({ type: "struck", citizen: null, pseudonym: null, ...of }, T0);
const mark = (citizen) => crowd.marks.get(citizen);
const place = (citizen) => [mark(citizen).shownValence, mark(citizen).shownArousal];
const sealOf = (citizen, nowMs) => mark(citizen).seal(nowMs);
const broken = ({ trail }) => Array.from({ length: trail.length }, (_, i) => trail.isBroken(i));
const seats = () => [...crowd.tiles].map((tile) => [tile.cell, tile.seat]);

// ── places ────────────────────────────────────────────────────────────────────────────────────────

test("a mark goes from sample to sample within 120 ms, and then stays", () => {
  shown(ADA);
  says(ADA, feeling(0, 0, 0), T0);
  says(ADA, feeling(1, 600, -300), T0 + 1000);
  assert.ok(crowd.advance(T0 + 1060).isMoving);
  assert.deepEqual(place(ADA), [300, -150]);
  assert.ok(!crowd.advance(T0 + 1120).isMoving);
  assert.deepEqual(place(ADA), [600, -300]);
  assert.deepEqual(crowd.advance(T0 + 600_000), { isMoving: false, wakeMs: null });
  assert.deepEqual(place(ADA), [600, -300]);
});

test("at ten samples a second a mark has arrived when the next one comes", () => {
  shown(ADA);
  for (let i = 0; i < 5; i += 1) says(ADA, feeling(i, i * 100), T0 + i * 100);
  crowd.advance(T0 + 499);
  assert.ok(Math.abs(place(ADA)[0] - 399) < 0.5);
  says(ADA, feeling(5, 500), T0 + 500);
  crowd.advance(T0 + 500);
  assert.ok(Math.abs(place(ADA)[0] - 400) < 0.5);
});

test("nobody travels across a gap: the mark jumps, and the trail is broken there", () => {
  for (const gap of [
    () => {},
    () => crowd.see({ type: "skipped", strand: OF[ADA], citizen: ADA, first: 1, last: 3, reason: "lost" }, T0),
  ]) {
    crowd = new Crowd();
    shown(ADA);
    says(ADA, feeling(0, 0), T0);
    gap();
    says(ADA, feeling(4, 900), T0 + 1000);
    crowd.advance(T0 + 1000);
    assert.deepEqual(place(ADA), [900, 0]);
    assert.deepEqual(broken(mark(ADA)), [false, true]);
    assert.equal(mark(ADA).missing, 3);
  }
  assert.equal(crowd.people(T0)[0].missingReason, "lost");
});

test("a new strand of the same person is a break, and the same person", () => {
  shown(ADA);
  says(ADA, feeling(9, 100), T0);
  crowd.see({ type: "ended", strand: OF[ADA], citizen: ADA, reason: "interrupted" }, T0 + 10);
  assert.ok(crowd.people(T0 + 10)[0].isHollow);
  shown(ADA, T0 + 3000, null, "cc".repeat(32));
  says(ADA, feeling(0, 200), T0 + 3100, "cc".repeat(32));
  assert.deepEqual(broken(mark(ADA)), [false, true]);
  assert.equal(mark(ADA).missing, 0);
  assert.ok(!crowd.people(T0 + 3100)[0].isHollow);
});

test("a trail has at most 40 points and lasts 20 s at any rate", () => {
  shown(ADA);
  for (let i = 0; i < 2000; i += 1) says(ADA, feeling(i, i % 1000), T0 + i * 50);
  const { trail } = mark(ADA);
  assert.equal(trail.length, 40);
  const reachMs = T0 + 1999 * 50 - trail.atMs(0);
  assert.ok(reachMs > 19_000 && reachMs <= 22_000, String(reachMs));
  assert.equal(trail.from(T0 + 1999 * 50 + 30_000), 40);
});

test("who rests asks for no frame once the trail is past", () => {
  shown(ADA);
  says(ADA, feeling(0, 0), T0);
  says(ADA, feeling(1, 500), T0 + 500);
  crowd.takeChange();
  says(ADA, feeling(2, 500), T0 + 2500);
  assert.equal(crowd.takeChange(), Change.MOVED);
  for (let i = 3; i < 13; i += 1) says(ADA, feeling(i, 500), T0 + 500 + (i - 1) * 2000);
  assert.equal(crowd.takeChange(), Change.MOVED);
  says(ADA, feeling(13, 500), T0 + 24_500);
  says(ADA, feeling(14, 500), T0 + 26_500);
  assert.equal(crowd.takeChange(), Change.NONE);
});

// ── seals ─────────────────────────────────────────────────────────────────────────────────────────

test("the rim is pending, then what the newest window proved", () => {
  shown(ADA);
  says(ADA, feeling(0), T0);
  assert.equal(sealOf(ADA, T0), "pending");
  judged(ADA, "verified", T0 + 1000);
  assert.equal(sealOf(ADA, T0 + 1000), "verified");
  judged(ADA, "unsealed", T0 + 2000);
  assert.equal(sealOf(ADA, T0 + 2000), "unsealed");
});

test("what is incomplete is shown as long as its break is in the trail", () => {
  shown(ADA);
  judged(ADA, "incomplete", T0);
  judged(ADA, "verified", T0 + 1000);
  assert.equal(sealOf(ADA, T0 + 19_999), "incomplete");
  assert.equal(crowd.advance(T0 + 19_000).wakeMs, T0 + 20_000);
  assert.equal(sealOf(ADA, T0 + 20_000), "verified");
});

test("a window that began before one came is not for that incomplete; a loss in it is", () => {
  shown(ADA, T0, feeling(7));
  says(ADA, feeling(8), T0 + 100);
  judged(ADA, "incomplete", T0 + 200, OF[ADA], 4);
  assert.equal(sealOf(ADA, T0 + 200), "pending");
  shown(BOB, T0, feeling(7));
  says(BOB, feeling(9), T0 + 100);
  judged(BOB, "incomplete", T0 + 200, OF[BOB], 4);
  assert.equal(sealOf(BOB, T0 + 200), "incomplete");
});

test("a window whose first number was lost is incomplete", () => {
  shown(ADA);
  crowd.see({ type: "skipped", strand: OF[ADA], citizen: ADA, first: 0, last: 0, reason: "lost" }, T0);
  says(ADA, feeling(1), T0);
  judged(ADA, "incomplete", T0);
  assert.equal(sealOf(ADA, T0), "incomplete");
});

test("a false seal freezes mark and trail, and stays false on that strand", () => {
  shown(ADA);
  says(ADA, feeling(0, 100), T0);
  judged(ADA, "false", T0 + 500);
  says(ADA, feeling(1, 900), T0 + 1000);
  judged(ADA, "verified", T0 + 1500);
  crowd.advance(T0 + 2000);
  assert.deepEqual(place(ADA), [100, 0]);
  assert.equal(mark(ADA).trail.length, 1);
  const [row] = crowd.people(T0 + 2000);
  assert.deepEqual([row.seal, row.falseMs], ["false", T0 + 500]);
});

test("only another strand that proves itself is believed again", () => {
  shown(ADA);
  judged(ADA, "false", T0);
  crowd.see({ type: "ended", strand: OF[ADA], citizen: ADA, reason: "interrupted" }, T0 + 10);
  shown(ADA, T0 + 20, feeling(0), "cc".repeat(32));
  assert.equal(sealOf(ADA, T0 + 20), "false");
  judged(ADA, "verified", T0 + 1000, "cc".repeat(32));
  assert.equal(sealOf(ADA, T0 + 1000), "verified");
});

test("a false opening is a false seal", () => {
  shown(ADA);
  crowd.see({ type: "false opening", strand: OF[ADA], citizen: ADA }, T0);
  assert.equal(sealOf(ADA, T0), "false");
});

// ── coming and going ──────────────────────────────────────────────────────────────────────────────

test("who is struck is gone at once, with name, trail and row", () => {
  shown(ADA);
  says(ADA, feeling(0), T0);
  cell("p1", 3);
  crowd.advance(T0);
  crowd.takeChange();
  struck({ citizen: ADA });
  assert.equal(crowd.takeChange(), Change.AT_ONCE);
  assert.deepEqual([mark(ADA), crowd.people(T0)], [undefined, []]);
  struck({ pseudonym: "p1" });
  assert.deepEqual([crowd.tiles.size, seats()], [0, []]);
  says(ADA, feeling(1), T0);
  assert.equal(mark(ADA), undefined);
});

test("a voice that closed fades, one that broke off waits hollow for ten seconds", () => {
  for (const [reason, leavesMs] of [["closed", T0], ["left", T0], ["interrupted", T0 + 10_000]]) {
    crowd = new Crowd();
    shown(ADA, T0 - 5000, feeling(0));
    crowd.see({ type: "ended", strand: OF[ADA], citizen: ADA, reason }, T0);
    crowd.advance(leavesMs + 120);
    assert.equal(mark(ADA).opacity(leavesMs + 120), 0.5);
    assert.deepEqual(crowd.people(leavesMs + 120), []);
    crowd.advance(leavesMs + 240);
    assert.equal(mark(ADA), undefined, reason);
  }
});

test("a snapshot is all there is: who is not in it is not seen", () => {
  shown(ADA, T0, feeling(0));
  shown(BOB, T0, feeling(0));
  shown("02".repeat(16), T0, feeling(0), "cc".repeat(32));
  crowd.see({ type: "ended", strand: "cc".repeat(32), citizen: "02".repeat(16), reason: "interrupted" }, T0);
  cell("p1", 3);
  cell("p2", 4);
  snapshot([OF[BOB], "cc".repeat(32)], ["p2"]);
  crowd.advance(T0);
  assert.deepEqual([...crowd.marks.keys()], [BOB]);
  assert.deepEqual(seats(), [[4, 0]]);
});

test("without a connection marks keep their place and lose their fill after 2 s", () => {
  shown(ADA, T0, feeling(0, 300));
  crowd.gap(T0 + 1000);
  assert.ok(!crowd.isHollow(T0 + 2999));
  assert.equal(crowd.advance(T0 + 2000).wakeMs, T0 + 3000);
  assert.ok(crowd.isHollow(T0 + 3000));
  crowd.advance(T0 + 3000);
  assert.deepEqual(place(ADA), [300, 0]);
  snapshot([OF[ADA]]);
  assert.ok(!crowd.isHollow(T0 + 4000));
});

test("after a return with everything held there is no break", () => {
  shown(ADA, T0, feeling(7, 300));
  says(ADA, feeling(8, 320), T0 + 100);
  crowd.gap(T0 + 200);
  shown(ADA, T0 + 900, feeling(8, 320));
  snapshot([OF[ADA]]);
  says(ADA, feeling(9, 340), T0 + 1000);
  assert.ok(!broken(mark(ADA)).includes(true));
  crowd.gap(T0 + 2000);
  shown(ADA, T0 + 5000, feeling(30, 500));
  assert.equal(broken(mark(ADA)).at(-1), true);
  assert.equal(mark(ADA).missing, 20);
});

test("one's own voice is an echo, and nobody among the others", () => {
  crowd.setSelf(ADA);
  shown(ADA, T0, feeling(0));
  says(ADA, feeling(1, 50, 60), T0 + 40);
  assert.equal(crowd.marks.size, 0);
  assert.deepEqual(crowd.echo, { strand: OF[ADA], seq: 1, valence: 50, arousal: 60, atMs: T0 + 40 });
  struck({ citizen: ADA });
  assert.equal(crowd.echo, null);
});

// ── cells ─────────────────────────────────────────────────────────────────────────────────────────

test("tiles sit by the order of pseudonyms and change by fading, never by travel", () => {
  for (const [pseudonym, at] of [["c", 3], ["a", 3], ["b", 4]]) cell(pseudonym, at);
  assert.ok(crowd.advance(T0).isMoving);
  assert.deepEqual(seats().sort(), [[3, 0], [3, 1], [4, 0]]);
  cell("a", 4);
  crowd.advance(T0 + 1000);
  const moved = [...crowd.tiles].map(({ cell: at, seat, fromCell, fromSeat }) => [fromCell, fromSeat, at, seat]);
  assert.deepEqual(moved.sort(), [[3, 0, 4, 0], [3, 1, 3, 0], [4, 0, 4, 1]]);
  assert.ok(!crowd.advance(T0 + 1240).isMoving);
  assert.equal(crowd.tiles.counts[4], 2);
});

test("an absent tile fades away and a repeated cell changes nothing", () => {
  cell("a", 3);
  crowd.advance(T0);
  crowd.advance(T0 + 240);
  crowd.takeChange();
  cell("a", 3);
  assert.equal(crowd.takeChange(), Change.NONE);
  cell("a", null);
  assert.equal(crowd.tiles.size, 0);
  assert.ok(crowd.advance(T0 + 1000).isMoving);
  crowd.advance(T0 + 1240);
  assert.deepEqual(seats(), []);
});

// ── reduced motion, names, rows ───────────────────────────────────────────────────────────────────

test("with reduced motion marks step at most twice a second", () => {
  shown(ADA, T0, feeling(0, 0));
  const places = new Set();
  for (let i = 1; i <= 40; i += 1) {
    says(ADA, feeling(i, i * 10), T0 + i * 50);
    const { isMoving } = crowd.advance(T0 + i * 50, { isStill: true });
    assert.ok(!isMoving);
    places.add(place(ADA)[0]);
  }
  assert.ok(places.size <= 5, String([...places]));
  assert.ok(places.size >= 4);
  assert.ok(crowd.advance(T0 + 2001, { isStill: true }).wakeMs !== null || place(ADA)[0] === 400);
});

test("names are drawn without signs that are not seen or that turn a line around", () => {
  assert.equal(plainText("A\u202eda\u0000 \n  B\u200b"), "Ada B");
  assert.equal(plainText(null), "");
});

test("a note is shown as long as its sample is in the trail", () => {
  shown(ADA);
  says(ADA, { ...feeling(0), note: "so\u202e far" }, T0);
  says(ADA, feeling(1), T0 + 100);
  assert.equal(crowd.people(T0 + 19_999)[0].note, "so far");
  assert.equal(crowd.people(T0 + 20_000)[0].note, null);
  assert.equal(crowd.people(T0)[0].name, "Ada");
});

test("rows are in the order of names and say nothing of cells", () => {
  shown(BOB, T0, feeling(0, 100, -200));
  shown(ADA, T0);
  cell("a", 3);
  const rows = crowd.people(T0);
  assert.deepEqual(rows.map(({ name, tier, valence, arousal }) => [name, tier, valence, arousal]),
    [["Ada", "full", null, null], ["Bob", "full", 100, -200]]);
});

test("a room that is left leaves nothing behind", () => {
  shown(ADA, T0, feeling(0));
  cell("a", 3);
  crowd.see({ type: "closeness", close: false }, T0);
  crowd.clear();
  assert.deepEqual([crowd.marks.size, crowd.tiles.size, crowd.isClose], [0, 0, null]);
});
