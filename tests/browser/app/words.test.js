import assert from "node:assert/strict";
import { test } from "node:test";

import { readAddress, sanctuaryNamed } from "../../../services/gateway/page/app/address.js";
import { copy } from "../../../services/gateway/page/app/copy.js";
import { Link, median, secondsOf } from "../../../services/gateway/page/app/link.js";
import { Notices, TOPICS } from "../../../services/gateway/page/app/notices.js";
import { EVERY_MS, Says } from "../../../services/gateway/page/app/says.js";
import { watchedTitles } from "../../../services/gateway/page/app/screens/header.js";
import { clock, clockSeconds, ends, untilPhrase, untilWord } from "../../../services/gateway/page/app/times.js";
import { hex } from "../../../services/gateway/page/client/bytes.js";

const NOON = new Date(2026, 10, 20, 12, 0, 7).getTime(); // a Friday
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

test("at most one sentence in five seconds, the newest of each topic, in the order of asking", () => {
  const says = new Says();
  says.say("link", "No connection.");
  says.say("room", "Ada came.");
  says.say("link", "Back.");
  assert.equal(says.take(0), "Back.");
  assert.equal(says.take(4999), null);
  assert.equal(says.take(5000), "Ada came.");
  assert.equal(says.take(20_000), null);
});

test("an answer is said at once, and even to somebody who wants to hear nothing else", () => {
  const says = new Says();
  says.say("a", "one");
  assert.equal(says.take(0), "one");
  says.answer("the room");
  assert.equal(says.take(1), "the room");
  says.say("a", "two");
  assert.equal(says.take(4000), null, "and the five seconds run from the answer");
  says.everyMs = EVERY_MS.at(-1);
  assert.equal(says.take(1e9), null);
  says.answer("again");
  assert.equal(says.take(1e9), "again");
  says.everyMs = EVERY_MS[0];
  assert.equal(says.take(2e9), null, "what was not wanted is not said later");
});

test("one notice at a time, the weightiest, and each goes when its time is over", () => {
  const notices = new Notices();
  assert.equal(notices.current(0), null);
  notices.put("empty", "nobody");
  notices.put("back", "Back.", { untilMs: 100 });
  notices.put("false seal", "false", { actions: ["seen"] });
  assert.deepEqual(notices.current(0), { topic: "false seal", text: "false", actions: ["seen"], untilMs: null });
  notices.drop("false seal");
  assert.equal(notices.current(99).topic, "back");
  assert.equal(notices.current(100).topic, "empty");
  assert.throws(() => notices.put("badge", "3 new"), RangeError);
  assert.equal(TOPICS[0], "withdrawal late", "nothing goes before a withdrawal that is late");
});

test("the connection says what it is, and its delay is measured, never guessed", () => {
  const link = new Link();
  assert.equal(link.words(0), "connecting");
  link.changed("connecting", 0);
  link.changed("live", 10);
  assert.deepEqual([link.words(10), link.kind(10)], ["live", "live"]);
  for (const delay of [40, 900, 42]) link.answered(delay);
  assert.equal(link.words(20), "live · 42 ms");
  for (let i = 0; i < 20; i += 1) link.answered(7);
  for (let i = 0; i < 11; i += 1) link.answered(50);
  assert.equal(link.delayMs, 50, "of the last twenty");
  assert.equal(median([3, 1, 2, 4]), 2, "one that was measured");
});

test("a slow connection says its rung until it is fast again, or another", () => {
  const link = new Link();
  link.changed("live", 0);
  link.answered(900);
  link.rung = "newest";
  assert.deepEqual([link.words(10), link.kind(10)], ["slow: newest only", "slow"]);
  link.rung = "field";
  assert.equal(link.words(20), "slow: nobody for now");
  link.changed("waiting", 30);
  link.changed("live", 3000);
  assert.equal(link.rung, "every");
  assert.deepEqual([link.words(3010), link.kind(3010)], ["live · 900 ms", "live"]);
});

test("back is told as it is: whole only if the city and one's own numbers say so", () => {
  const link = new Link();
  link.changed("live", 0);
  link.changed("waiting", 1000);
  link.changed("connecting", 1200);
  assert.deepEqual([link.words(1300), link.kind(1300)], ["reconnecting", "lost"]);
  link.changed("live", 3000);
  const gap = link.settled({ recovered: false }, 3100);
  assert.equal(secondsOf(gap), 2.1);
  assert.deepEqual([link.words(3200), link.kind(3200)], ["back, 2.1 s missing", "gap"]);
  assert.equal(link.kind(13_100), "live", "and it passes");
  link.missed(20_000);
  assert.ok(link.settled({ recovered: true }, 20_050).isWhole);
  assert.equal(link.words(20_060), "back, nothing missed");
  assert.equal(link.gaps.length, 2);
  assert.equal(link.settled({ recovered: false }, 30_000), null, "nothing had been lost");
});

test("what is missing is counted from what was received last, not from when that was noticed", () => {
  const link = new Link();
  link.changed("live", 0);
  link.heard(1000);
  link.changed("waiting", 10_900); // silent, and then given up
  link.changed("connecting", 10_950);
  link.changed("live", 10_980);
  link.heard(10_981);
  link.changed("waiting", 10_990); // and lost again, before anything of the room was seen
  link.changed("live", 10_999);
  const gap = link.settled({ recovered: false }, 11_000);
  assert.deepEqual(gap, { fromMs: 1000, toMs: 11_000, isWhole: false });
  assert.equal(link.words(11_001), "back, 10.0 s missing");
  link.heard(11_000);
  link.missed(14_000); // told by the room, while the socket stood
  link.heard(14_000);
  link.missed(14_500);
  assert.equal(secondsOf(link.settled({ recovered: false }, 15_000)), 4);
});

test("a connection that will not come back says so", () => {
  const link = new Link();
  link.changed("live", 0);
  link.changed("closed", 5);
  assert.equal(link.words(6), "closed");
});

test("ends are said as a person says them", () => {
  assert.equal(clock(NOON), "12:00");
  assert.equal(clockSeconds(NOON), "12:00:07");
  assert.equal(untilWord(null, NOON), "");
  assert.equal(untilWord(NOON + 8 * HOUR, NOON), "20:00");
  assert.equal(untilWord(NOON + 13 * HOUR, NOON), "Saturday");
  assert.equal(untilWord(NOON + 3 * DAY, NOON, { isShort: true }), "Mon");
  assert.equal(untilWord(NOON + 13 * DAY, NOON), "3 December");
  assert.equal(untilPhrase(NOON + 3 * DAY, NOON), "until Monday, 12:00");
  assert.equal(untilPhrase(NOON + HOUR, NOON), "until 13:00");
  assert.equal(untilPhrase(null, NOON), "until you withdraw it");
});

test("no end is offered last, and every other is in the future, whole five minutes", () => {
  const all = ends(NOON);
  assert.equal(all.at(-1).untilMs, null);
  assert.deepEqual(all.map(({ untilMs }) => untilMs === null), [false, false, false, false, true]);
  const times = all.slice(0, -1).map(({ untilMs }) => untilMs);
  assert.ok(times.every((at, i) => at % 300_000 === 0 && at >= (times[i - 1] ?? NOON + HOUR)));
});

test("an address names a room by slug or by id", async () => {
  assert.deepEqual(readAddress("?watch=open-stage"), { watch: "open-stage", room: null });
  assert.deepEqual(readAddress(""), { watch: null, room: null });
  assert.deepEqual(readAddress("?watch=&room="), { watch: null, room: null }, "without a name it is none");
  const id = "fd61f078d77e05cbe4869d8694f5d92b";
  assert.equal(hex(await sanctuaryNamed("open-stage")), id);
  assert.equal(hex(await sanctuaryNamed(id)), id);
});

test("what is watched is called as the city's list has it, and nothing is claimed of what is not in it", () => {
  const room = (sanctuary, changes) => ({ sanctuary, name: sanctuary, setting: "open", public: false, ...changes });
  const list = [room("c0", { kind: "commons" }), room("57", { kind: "stage", public: true }), room("9a", { kind: "stage" })];
  const titles = (sanctuary, changes = {}) => {
    const { title, subtitle } = watchedTitles({ list, sanctuary, isShown: false, ...changes });
    return [title, subtitle];
  };
  assert.deepEqual(titles("57"), ["57", "stage · open · public"]);
  assert.deepEqual(titles("c0"), ["c0", "commons · open · nothing recorded"]);
  assert.deepEqual(titles("9a"), ["9a", "stage · open · nothing recorded"]);
  assert.deepEqual(titles("00"), ["Synchronia", "This circle is not open to you now."]);
  assert.deepEqual(titles("00", { list: null }), ["Synchronia", ""], "the list has not come");
  const shown = ["A stage", "stage · public"]; // by invitation, so in no list, and yet for all to see
  assert.deepEqual(titles("00", { isShown: true }), shown);
  assert.deepEqual(titles("00", { list: null, isShown: true }), shown);
});

test("the texts are the brief's, filled in", () => {
  assert.equal(copy.notArrived(1.44), "Your last 1.4 s have not arrived yet.");
  assert.equal(copy.endsSoon("20:30", "this room"), "At 20:30 this room stops seeing you. Extend it?");
  assert.equal(copy.ended("20:30", "This room"), "This room no longer sees you. It ended at 20:30, as you chose.");
  assert.equal(
    copy.partsMissing("Teo", 12, "lost"),
    "Teo: 12 samples are missing (lost on the way). The break in the trail shows where.",
  );
  assert.equal(
    copy.falseSeal("Kira Voss", "19:41:07"),
    "Kira Voss: one seal does not verify. What you saw since 19:41:07 may not be from them.",
  );
  assert.equal(
    copy.beyondLimit(50, 45),
    "More than 50 are here. You see the room's mood and the people you follow. This changes back below 45.",
  );
  assert.equal(copy.backMissing(2.06), "Back. 2.1 s are missing and stay missing.");
});
