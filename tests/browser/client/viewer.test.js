import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { hex } from "../../../services/gateway/page/client/bytes.js";
import { sha256, signerFromSeed } from "../../../services/gateway/page/client/ed25519.js";
import * as records from "../../../services/gateway/page/client/records.js";
import { StrandWriter } from "../../../services/gateway/page/client/strand_writer.js";
import { Viewer } from "../../../services/gateway/page/client/viewer.js";

const T0 = 1_700_000_000_000;
const filled = (length, byte) => new Uint8Array(length).fill(byte);
const CITY = filled(32, 1);
const ROOM = filled(16, 2);
const CITIZEN = filled(16, 3);
const FEELING = { valence: 100, arousal: 100 };

let viewer;
let events;

beforeEach(() => {
  viewer = new Viewer();
  events = [];
});

/** Everything as the shell does it: messages, then the checks in order. */
async function see(...messages) {
  for (const [type, fields] of messages) viewer.receive({ type, ...fields }, T0);
  events.push(...viewer.takeEvents());
  for (const check of viewer.takeChecks()) await viewer.judge(check, CITY);
  events.push(...viewer.takeEvents());
}

const told = (type) => events.filter((event) => event.type === type);
const states = () => told("window").map(({ first, last, state }) => [first, last, state]);

/** A citizen who speaks, and the messages that a city would make of it. */
class Speaker {
  static async begin(seed = 9, citizen = CITIZEN) {
    const speaker = new Speaker();
    const device = await signerFromSeed(filled(32, seed));
    const signer = await signerFromSeed(filled(32, seed + 1), { extractable: true });
    const challenge = filled(16, 4);
    const payload = records.packOpening({
      sanctuary: ROOM, citizen, policyHash: filled(32, 5), strandKey: signer.publicKey,
      device: device.publicKey, consentEpoch: 1, challenge, tMs: T0, name: "Ada",
    });
    const opening = await records.signRecord(device, "opening", CITY, payload);
    const strand = await sha256(payload);
    Object.assign(speaker, { citizen, signer, strand, opening });
    speaker.writer = new StrandWriter({ sanctuary: ROOM, city: CITY, challenge, opening, strand, signer });
    return speaker;
  }

  shown({ nextSeq = 0, body = null, seal = null, unsealedFrom = null, opening = this.opening } = {}) {
    const { strand, citizen } = this;
    return ["strand", { sanctuary: ROOM, strand, citizen, opening, nextSeq, body, seal, unsealedFrom }];
  }

  sample() {
    const body = this.writer.add(FEELING, T0, filled(8, this.writer.nextSeq));
    return ["sample", { strand: this.strand, body }];
  }

  samples(count) {
    return Array.from({ length: count }, () => this.sample());
  }

  async seal(options) {
    return ["sealed window", { strand: this.strand, record: await this.writer.cut(T0, options).sealed }];
  }

  skipped(first, last) {
    return ["skipped", { strand: this.strand, first, last, reason: "lost" }];
  }

  ended(reason, total = null, unsealedFrom = null) {
    return ["ended", { strand: this.strand, reason, total, unsealedFrom }];
  }

  /** A seal by the strand's own key that says what it likes. */
  async forged(change) {
    const seal = {
      strand: this.strand, window: 0, firstSeq: 0, tEndMs: T0, flags: 0, hashes: [],
      previous: records.ZERO_HASH, total: null, ...change,
    };
    const record = await records.signRecord(this.signer, "seal", CITY, records.packSeal(seal));
    return ["sealed window", { strand: this.strand, record }];
  }
}

const snapshot = (count, recovered = false) => ["snapshot", { sanctuary: ROOM, count, recovered }];

test("a window whose seal fits is verified, and pending before", async () => {
  const ada = await Speaker.begin();
  await see(ada.shown(), ...ada.samples(3));
  const view = viewer.room(ROOM).strands.get(hex(ada.strand));
  assert.equal(view.stateOf(0), "pending");
  await see(await ada.seal());
  assert.deepEqual(states(), [[0, 2, "verified"]]);
  assert.equal(view.stateOf(2), "verified");
  await see(...ada.samples(2), await ada.seal(), await ada.seal({ closing: true }), ada.ended("closed", 5));
  assert.deepEqual(states(), [[0, 2, "verified"], [3, 4, "verified"]]);
  assert.equal(told("ended")[0].isAccounted, true);
  assert.equal(told("strand")[0].name, "Ada");
  assert.deepEqual(told("sample").map(({ sample }) => sample.seq), [0, 1, 2, 3, 4]);
});

test("a window with skipped numbers is incomplete, and all that was sent is accounted for", async () => {
  const ada = await Speaker.begin();
  const [zero, , two] = [ada.sample(), ada.sample(), ada.sample()];
  await see(ada.shown(), zero, ada.skipped(1, 1), two, await ada.seal());
  assert.deepEqual(states(), [[0, 2, "incomplete"]]);
  await see(await ada.seal({ closing: true }), ada.ended("closed", 3));
  assert.equal(told("ended")[0].isAccounted, true);
});

test("a number that neither came nor was skipped is seen in the accounts", async () => {
  const ada = await Speaker.begin();
  const [zero, , two] = [ada.sample(), ada.sample(), ada.sample()];
  await see(ada.shown(), zero, two);
  const view = viewer.room(ROOM).strands.get(hex(ada.strand));
  assert.deepEqual(view.gaps, [[1, 1]]);
  await see(await ada.seal({ closing: true }), ada.ended("closed", 3));
  assert.equal(told("ended")[0].isAccounted, false);
  assert.deepEqual(states(), [[0, 2, "incomplete"]]);
});

test("a late skip fills its gap, a repeated sample counts once", async () => {
  const ada = await Speaker.begin();
  const all = ada.samples(6);
  await see(ada.shown(), all[0], all[5], ada.skipped(2, 3), all[0], all[4], ada.skipped(0, 1));
  const view = viewer.room(ROOM).strands.get(hex(ada.strand));
  assert.deepEqual([view.delivered, view.skipped, view.gaps], [3, 3, []]);
  assert.equal(told("sample").length, 3);
});

const hashesOf = async (messages) =>
  Promise.all(messages.map(async ([, { body }]) => (await sha256(body)).slice(0, 16)));

const FALSE = {
  "a hash of another body": async (ada, hashes) =>
    ada.forged({ hashes: [filled(16, 0), ...hashes.slice(1)] }),
  "another strand": async (ada, hashes) => ada.forged({ hashes, strand: filled(32, 0) }),
  "another previous seal": async (ada, hashes) => ada.forged({ hashes, previous: filled(32, 1) }),
  "a later first number": async (ada, hashes) => ada.forged({ hashes: hashes.slice(1), firstSeq: 1 }),
  "a total without closing": async (ada, hashes) => ada.forged({ hashes, total: 2 }),
  "a closing total that is wrong": async (ada, hashes) => ada.forged({ hashes, flags: 1, total: 9 }),
  "no hashes": async (ada) => ada.forged({}),
  "another signer": async (ada) => {
    const [type, { strand, record }] = await ada.seal();
    const other = await signerFromSeed(filled(32, 77));
    return [type, { strand, record: await records.signRecord(other, "seal", CITY, record[0]) }];
  },
  "another city": async (ada) => {
    const [type, { strand, record }] = await ada.seal();
    return [type, { strand, record: await records.signRecord(ada.signer, "seal", filled(32, 9), record[0]) }];
  },
  "bytes of no meaning": async (ada) => ["sealed window", { strand: ada.strand, record: [filled(3, 1), filled(64, 1)] }],
};
for (const [what, forge] of Object.entries(FALSE)) {
  test(`a seal is false: ${what}`, async () => {
    const ada = await Speaker.begin();
    const samples = ada.samples(2);
    await see(ada.shown(), ...samples, await forge(ada, await hashesOf(samples)));
    assert.deepEqual(told("window").map(({ state }) => state), ["false"]);
    assert.ok(viewer.room(ROOM).strands.get(hex(ada.strand)).isFalse);
  });
}

test("a second seal for one window is false, the same again is nothing new", async () => {
  const ada = await Speaker.begin();
  const samples = ada.samples(2);
  const seal = await ada.seal();
  await see(ada.shown(), ...samples, seal, seal);
  assert.deepEqual(states(), [[0, 1, "verified"]]);
  await see(await ada.forged({ hashes: await hashesOf(samples), tEndMs: T0 + 1 }));
  assert.equal(states().at(-1)[2], "false");
});

test("a later seal over numbers that are sealed already is false", async () => {
  const ada = await Speaker.begin();
  const samples = ada.samples(2);
  await see(ada.shown(), ...samples, await ada.seal());
  await see(await ada.forged({ window: 2, hashes: await hashesOf(samples) }));
  assert.deepEqual(states().at(-1), [0, 1, "false"]);
});

test("an opening that its device did not sign, or of another name, is false", async () => {
  const ada = await Speaker.begin();
  await see(ada.shown({ opening: [ada.opening[0], filled(64, 1)] }));
  assert.equal(told("false opening").length, 1);
  const eve = await Speaker.begin(20, filled(16, 8));
  eve.citizen = CITIZEN; // a gateway that shows one's strand as another's
  await see(eve.shown());
  assert.equal(told("false opening").length, 2);
});

test("numbers that will have no seal are unsealed", async () => {
  const ada = await Speaker.begin();
  await see(ada.shown(), ...ada.samples(2), await ada.seal(), ...ada.samples(2), ada.ended("unsealed", null, 2));
  assert.deepEqual(states(), [[0, 1, "verified"], [2, 3, "unsealed"]]);
  assert.equal(told("ended")[0].isAccounted, null);
});

test("a snapshot is joined in the middle of a window", async () => {
  const ada = await Speaker.begin();
  ada.samples(2);
  const [, { record }] = await ada.seal();
  const [, { body }] = ada.samples(2)[1];
  await see(snapshot(1), ada.shown({ nextSeq: 4, body, seal: record }));
  assert.deepEqual(told("snapshot")[0], {
    type: "snapshot", sanctuary: hex(ROOM), isReturn: false, recovered: false, missed: 0,
    strands: [hex(ada.strand)], pseudonyms: [],
  });
  await see(...ada.samples(1), await ada.seal(), ...ada.samples(1), await ada.seal());
  assert.deepEqual(states(), [[2, 4, "incomplete"], [5, 5, "verified"]]);
  await see(await ada.seal({ closing: true }), ada.ended("closed", 6));
  assert.equal(told("ended")[0].isAccounted, true);
});

test("recovered is believed only if one's own numbers say so too", async () => {
  const ada = await Speaker.begin();
  await see(snapshot(1), ada.shown(), ...ada.samples(3));
  assert.deepEqual(viewer.held(ROOM), [[ada.strand, 2]]);
  await see(snapshot(1, true), ada.shown({ nextSeq: 3 }));
  await see(snapshot(1, true), ada.shown({ nextSeq: 7 }));
  await see(snapshot(1, false), ada.shown({ nextSeq: 7 }));
  const seen = told("snapshot").slice(1).map(({ isReturn, recovered, missed }) => [isReturn, recovered, missed]);
  assert.deepEqual(seen, [[true, true, 0], [true, false, 4], [true, false, 0]]);
});

test("after a recovered return a seal still covers what was held before it", async () => {
  const ada = await Speaker.begin();
  await see(snapshot(1), ada.shown(), ...ada.samples(2));
  await see(snapshot(1, true), ada.shown({ nextSeq: 2 }), await ada.seal());
  assert.deepEqual(states(), [[0, 1, "verified"]]);
});

test("a snapshot takes away what it does not show", async () => {
  const [ada, bob] = [await Speaker.begin(), await Speaker.begin(30, filled(16, 6))];
  const cell = ["coarse", { sanctuary: ROOM, tick: 70000, pseudonym: filled(8, 1), cell: 3 }];
  await see(ada.shown(), bob.shown(), cell, ...ada.samples(1), ["gap", { sanctuary: ROOM }]);
  assert.ok(viewer.room(ROOM).hasGap);
  assert.deepEqual(viewer.held(ROOM), []);
  await see(snapshot(1), bob.shown());
  assert.deepEqual([...viewer.room(ROOM).strands.keys()], [hex(bob.strand)]);
  assert.equal(viewer.room(ROOM).cells.size, 0);
  assert.deepEqual(told("snapshot")[0].strands, [hex(bob.strand)]);
  await see(snapshot(2), bob.shown(), cell);
  assert.deepEqual(told("snapshot")[1].pseudonyms, [hex(filled(8, 1))]);
  assert.ok(!viewer.room(ROOM).hasGap);
});

test("who is struck is blank at once, whatever was on its way", async () => {
  const ada = await Speaker.begin();
  await see(ada.shown(), ...ada.samples(2));
  viewer.receive({ type: "sealed window", ...(await ada.seal())[1] }, T0); // not judged yet
  await see(["struck", { sanctuary: ROOM, citizen: CITIZEN, pseudonym: null }], ...ada.samples(1));
  assert.equal(viewer.room(ROOM).strands.size, 0);
  assert.equal(events.at(-1).type, "struck");
  assert.deepEqual(states(), []);
});

test("a pseudonym's cell is held, absent, and struck", async () => {
  const coarse = (byte, cell) =>
    ["coarse", { sanctuary: ROOM, tick: 70000, pseudonym: filled(8, byte), cell }];
  await see(coarse(1, 0), coarse(2, 24), coarse(1, 7));
  assert.deepEqual([...viewer.room(ROOM).cells], [["01".repeat(8), 7], ["02".repeat(8), 24]]);
  await see(coarse(1, null), ["struck", { sanctuary: ROOM, citizen: null, pseudonym: filled(8, 2) }]);
  assert.equal(viewer.room(ROOM).cells.size, 0);
});

test("a released key is the strand's own, or is not believed", async () => {
  const ada = await Speaker.begin();
  const released = (seed) => ["released", { strand: ada.strand, seed }];
  await see(ada.shown(), await ada.seal({ closing: true }), ada.ended("closed", 0), released(filled(32, 1)));
  assert.equal(told("released").length, 0);
  await see(released(await ada.signer.seed()));
  assert.equal(told("released").length, 1);
});

