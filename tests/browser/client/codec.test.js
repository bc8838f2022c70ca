import assert from "node:assert/strict";
import { test } from "node:test";

import { fromHex, hex } from "../../../services/gateway/page/client/bytes.js";
import {
  FRAME_BYTES_MAX, packFrames, readFrame, say,
} from "../../../services/gateway/page/client/messages.js";
import { MessagePackError, pack, unpack } from "../../../services/gateway/page/client/messagepack.js";
import { CLOSES } from "../../../services/gateway/page/client/closes.js";
import {
  packBody, readBody, SampleError, thousandths, VOCABULARY,
} from "../../../services/gateway/page/client/sample.js";
import { bodyHash } from "../../../services/gateway/page/client/ed25519.js";
import { fieldsOf, golden } from "./golden.js";

for (const row of golden("samples")) {
  test(`a sample's body is Python's: ${row.what}`, async () => {
    const { body, hash, what, ...sample } = fieldsOf(row);
    assert.equal(hex(packBody(sample, sample)), row.body);
    assert.deepEqual(readBody(body), sample);
    assert.equal(hex(await bodyHash(body)), row.hash);
  });
}

for (const row of golden("refused_bodies")) {
  test(`a body is refused: ${row.what}`, () => {
    assert.throws(() => readBody(fromHex(row.body)), (error) =>
      error instanceof SampleError || error instanceof MessagePackError);
  });
}

test("a feeling is brought to its one form", () => {
  const stamp = { seq: 0, tMs: 1, salt: new Uint8Array(8) };
  const feeling = { valence: thousandths(-0.0001), arousal: thousandths(2), labels: [5, 2, 5], note: "e\u0301" };
  const sample = readBody(packBody(feeling, stamp));
  assert.deepEqual(sample.labels, [2, 5]);
  assert.equal(sample.note, "\u00e9");
  assert.equal(sample.arousal, 1000);
  assert.ok(Object.is(sample.valence, 0));
});

test("a feeling out of range is refused by its field", () => {
  const stamp = { seq: 0, tMs: 1, salt: new Uint8Array(8) };
  const cases = {
    valence: { valence: 1001 }, arousal: { arousal: 0.5 }, note: { note: "n".repeat(141) },
    labels: { labels: [0, 1, 2, 3, 4] }, provenance: { provenance: 3 },
  };
  for (const [field, change] of Object.entries(cases)) {
    assert.throws(() => packBody({ valence: 0, arousal: 0, ...change }, stamp), { field });
  }
  assert.throws(() => packBody({ valence: 0, arousal: 0, note: "\ud83d" }, stamp), { field: "note" });
});

test("integers are in shortest form and come back, to 2^53", () => {
  const edges = [0, 31, 32, 127, 128, 255, 256, 32767, 32768, 65535, 65536];
  const far = [2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1];
  for (const value of [...edges, ...far].flatMap((n) => [n, -n, -n - 1]).filter(Number.isSafeInteger)) {
    assert.equal(unpack(pack(value)), value === 0 ? 0 : value);
  }
  assert.equal(hex(pack(2 ** 53 - 1)), "cf001fffffffffffff");
  assert.equal(hex(pack(-(2 ** 31) - 1)), "d3ffffffff7fffffff");
  assert.throws(() => pack(2 ** 53), MessagePackError);
  assert.throws(() => unpack(fromHex("cf0020000000000000")), MessagePackError);
});

test("lengths are in shortest form and come back", () => {
  for (const length of [0, 15, 16, 31, 32, 255, 256, 65535, 65536]) {
    for (const value of [new Uint8Array(length), "t".repeat(length), Array(length).fill(null)]) {
      assert.deepEqual(unpack(pack(value)), value);
    }
  }
});

test("what is not of the protocol has no bytes and is not read", () => {
  for (const value of [0.5, Number.NaN, undefined, {}, new Map(), 1n, "\ud800"]) {
    assert.throws(() => pack(value), MessagePackError);
  }
  const bad = {
    float: "cb3ff0000000000000", map: "80", extension: "d40000", "cut short": "c402aa",
    "not UTF-8": "a1ff", "two values": "c0c0", empty: "", "an array that cannot be": "ddffffffff",
    deep: "91".repeat(17) + "c0", "no such head": "c1",
  };
  for (const [what, bytes] of Object.entries(bad)) {
    assert.throws(() => unpack(fromHex(bytes)), MessagePackError, what);
  }
});

const SAID = {
  token: (m) => say.token(m.jwt),
  enrol: (m) => say.enrol(m.ref, m.record),
  join: (m) => say.join(m.ref, m.sanctuary, m.record, m.held),
  leave: (m) => say.leave(m.ref, m.sanctuary),
  follow: (m) => say.follow(m.ref, m.sanctuary, m.record),
  open: (m) => say.open(m.ref, m.sanctuary, m.record),
  samples: (m) => say.samples(m.sanctuary, m.strand, m.epoch, m.bodies),
  seal: (m) => say.seal(m.sanctuary, m.strand, m.record),
  release: (m) => say.release(m.sanctuary, m.strand, m.seed),
  record: (m) => say.record(m.ref, m.record),
  "chain?": (m) => say.askChain(m.ref, m.citizen, m.before),
  "time?": (m) => say.time(m.clientMs),
};

test("a client's frames are Python's", () => {
  const rows = golden("client_frames");
  const all = [];
  for (const { fields, frame } of rows.slice(0, -1)) {
    const said = SAID[fields.type](fieldsOf(fields));
    all.push(said);
    assert.equal(hex(packFrames([said])[0]), frame, fields.type);
  }
  assert.equal(all.length, Object.keys(SAID).length);
  assert.equal(hex(packFrames(all)[0]), rows.at(-1).frame);
});

test("a server's frames are read by name", () => {
  for (const { fields, frame } of golden("server_frames")) {
    assert.deepEqual(readFrame(fromHex(frame)), [fieldsOf(fields)], fields.type);
  }
});

test("what a later server appends is passed over, and what is missing is not", () => {
  assert.deepEqual(readFrame(pack([["gap", new Uint8Array(16), 7], ["field", 1]])), [
    { type: "gap", sanctuary: new Uint8Array(16) },
    { type: "unknown", name: "field" },
  ]);
  for (const bad of [["gap"], ["gap", new Uint8Array(15)], ["gap", null], "gap", [1], ["move", -1]]) {
    assert.throws(() => readFrame(pack([bad])), MessagePackError, JSON.stringify(bad));
  }
});

test("frames keep to the limits", () => {
  const many = Array.from({ length: 130 }, (_, n) => say.time(n));
  assert.deepEqual(packFrames(many).map((frame) => unpack(frame).length), [64, 64, 2]);
  const long = Array.from({ length: 5 }, () => ["token", "t".repeat(30_000)]);
  const frames = packFrames(long);
  assert.deepEqual(frames.map((frame) => unpack(frame).length), [2, 2, 1]);
  assert.ok(frames.every((frame) => frame.length <= FRAME_BYTES_MAX));
  assert.throws(() => packFrames([["token", "t".repeat(FRAME_BYTES_MAX)]]), RangeError);
});

test("the catalogue is the city's", () => {
  const { vocabulary, closes } = golden("catalogue");
  assert.deepEqual([...VOCABULARY], vocabulary);
  const ours = Object.entries(CLOSES).map(([code, { meaning, comeBack }]) =>
    [code, { meaning, come_back: comeBack }]);
  assert.deepEqual(Object.fromEntries(ours), closes);
});
