import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Arrivals } from "../../../services/gateway/page/plane/arrivals.js";
import { Pace } from "../../../services/gateway/page/plane/pace.js";

const T0 = 1_700_000_000_000;
const at = (valence, arousal = 0) => ({ valence, arousal });

let pace;

beforeEach(() => {
  pace = new Pace();
});

/** Every turn that `nextDeadlineMs` asks for, up to `untilMs`. */
function run(untilMs) {
  const turns = [];
  const next = (nowMs) => {
    const atMs = pace.nextDeadlineMs();
    return atMs === null ? null : Math.max(nowMs, atMs);
  };
  for (let ms = next(T0); ms !== null && ms <= untilMs; ms = next(ms)) {
    const turn = pace.take(ms);
    turns.push({ ...turn, ms });
    assert.ok(turns.length < 10_000, "deadlines stand still");
  }
  return turns;
}

const sent = (turns) => turns.filter(({ send }) => send !== null);

test("nothing goes out before one speaks, and nothing before one felt", () => {
  pace.move(at(100), T0);
  assert.deepEqual([pace.nextDeadlineMs(), pace.take(T0).send], [null, null]);
  pace = new Pace();
  pace.speak(T0);
  assert.equal(pace.take(T0 + 1000).send, null);
  pace.move(at(100), T0 + 1500);
  assert.deepEqual(pace.take(T0 + 1500).send, at(100));
});

test("while moving at most ten a second go out, the newest each time", () => {
  pace.speak(T0);
  const out = [];
  for (let i = 0; i < 200; i += 1) {
    pace.move(at(i * 10), T0 + i * 10);
    const { send } = pace.take(T0 + i * 10);
    if (send !== null) out.push([i * 10, send.valence]);
  }
  assert.equal(out.length, 20);
  assert.ok(out.every(([ms, valence]) => ms === valence));
});

test("who moves less than a hundredth rests", () => {
  pace.speak(T0);
  pace.move(at(0), T0);
  pace.take(T0);
  pace.move(at(9), T0 + 500);
  assert.equal(pace.take(T0 + 500).send, null);
  assert.equal(pace.nextDeadlineMs(), T0 + 2000);
  pace.move(at(10), T0 + 600);
  assert.deepEqual(pace.take(T0 + 600).send, at(10));
});

test("at rest one goes out every two seconds", () => {
  pace.speak(T0);
  pace.move(at(100), T0);
  assert.deepEqual(sent(run(T0 + 10_000)).map(({ ms }) => ms - T0),
    [0, 2000, 4000, 6000, 8000, 10_000]);
});

test("another word goes out as a move does", () => {
  pace.speak(T0);
  pace.move(at(100), T0);
  pace.take(T0);
  pace.change(T0 + 50);
  assert.equal(pace.nextDeadlineMs(), T0 + 100);
  assert.deepEqual(pace.take(T0 + 100).send, at(100));
  assert.equal(pace.nextDeadlineMs(), T0 + 2100);
});

test("what could not be sent is due again", () => {
  pace.speak(T0);
  pace.move(at(100), T0);
  pace.take(T0);
  pace.unsent();
  assert.deepEqual(pace.take(T0 + 100).send, at(100));
});

test("after five minutes untouched it asks, after one more it stops", () => {
  pace.speak(T0);
  pace.move(at(100), T0);
  const turns = run(T0 + 400_000);
  assert.equal(turns.find(({ asks }) => asks).ms, T0 + 300_000);
  assert.deepEqual(turns.filter(({ stops }) => stops).map(({ ms, stops }) => [ms - T0, stops]), [[360_000, "untouched"]]);
  assert.ok(!pace.isSpeaking);
  assert.equal(pace.nextDeadlineMs(), null);
});

test("who answers goes on", () => {
  pace.speak(T0);
  pace.move(at(100), T0);
  run(T0 + 310_000);
  pace.touch(T0 + 310_001);
  assert.ok(!pace.take(T0 + 310_002).asks);
  assert.ok(run(T0 + 600_000).every(({ stops, asks }) => stops === null && !asks));
});

test("it asks and stops too when nothing was felt yet", () => {
  pace.speak(T0);
  assert.deepEqual(run(T0 + 400_000).map(({ ms, asks, stops }) => [ms - T0, asks, stops]),
    [[300_000, true, null], [360_000, false, "untouched"]]);
});

test("a hidden page stops after ten seconds, and one that comes back in time does not", () => {
  pace.speak(T0);
  pace.move(at(100), T0);
  pace.hide(T0 + 1000);
  pace.show(T0 + 10_900);
  assert.ok(run(T0 + 20_000).every(({ stops }) => stops === null));
  pace.hide(T0 + 21_000);
  const turns = run(T0 + 60_000);
  assert.deepEqual([turns.at(-1).ms, turns.at(-1).stops, turns.at(-1).send], [T0 + 31_000, "hidden", null]);
});

test("a timer that comes late still stops instead of sending", () => {
  pace.speak(T0);
  pace.move(at(100), T0);
  pace.hide(T0);
  assert.deepEqual(pace.take(T0 + 70_000), { send: null, asks: false, stops: "hidden" });
});

// ── arrivals ──────────────────────────────────────────────────────────────────────────────────────

test("what came back is where the city knows one, and the delay is the median of twenty", () => {
  const arrivals = new Arrivals();
  assert.deepEqual([arrivals.acknowledged, arrivals.delayMs, arrivals.lateMs(T0)], [null, null, null]);
  for (let seq = 0; seq < 30; seq += 1) {
    arrivals.sent(seq, at(seq), T0 + seq * 100);
    arrivals.echoed(seq, T0 + seq * 100 + (seq < 10 ? 900 : 40 + seq));
  }
  assert.deepEqual(arrivals.acknowledged, at(29));
  assert.equal(arrivals.delayMs, 60);
});

test("a sample that stays away for more than a second is late", () => {
  const arrivals = new Arrivals();
  arrivals.sent(0, at(0), T0);
  arrivals.echoed(0, T0 + 40);
  arrivals.sent(1, at(1), T0 + 100);
  arrivals.sent(2, at(2), T0 + 200);
  assert.equal(arrivals.lateMs(T0 + 1100), null);
  assert.equal(arrivals.lateMs(T0 + 1500), 1400);
  arrivals.echoed(2, T0 + 1600);
  assert.equal(arrivals.lateMs(T0 + 9000), null);
});

test("where seals alone acknowledge, a window's second is not lateness", () => {
  const arrivals = new Arrivals();
  for (let seq = 0; seq < 10; seq += 1) arrivals.sent(seq, at(seq), T0 + seq * 100);
  assert.equal(arrivals.lateMs(T0 + 2000), null);
  assert.equal(arrivals.lateMs(T0 + 2001), 2001);
  arrivals.sealed([0, 1, 2, 3]);
  assert.deepEqual(arrivals.acknowledged, at(3));
  assert.equal(arrivals.lateMs(T0 + 2400), null);
  arrivals.sealed([]);
  assert.deepEqual(arrivals.acknowledged, at(3));
});

test("what was refused is not waited for, and not taken for acknowledged", () => {
  const arrivals = new Arrivals();
  arrivals.sent(0, at(0), T0);
  arrivals.refused(0, 0);
  assert.deepEqual([arrivals.lateMs(T0 + 9000), arrivals.acknowledged], [null, null]);
  arrivals.sent(1, at(1), T0);
  arrivals.clear();
  assert.equal(arrivals.lateMs(T0 + 9000), null);
});

test("what is waited for is bounded", () => {
  const arrivals = new Arrivals();
  for (let seq = 0; seq < 1000; seq += 1) arrivals.sent(seq, at(0), T0 + seq);
  assert.equal(arrivals.lateMs(T0 + 10_000), 10_000 - 744);
});
