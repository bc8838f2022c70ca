import assert from "node:assert/strict";
import { test } from "node:test";

import { fromHex, hex } from "../../../services/gateway/page/client/bytes.js";
import { sha256, signerFromSeed } from "../../../services/gateway/page/client/ed25519.js";
import { signRecord } from "../../../services/gateway/page/client/records.js";
import { StrandWriter } from "../../../services/gateway/page/client/strand_writer.js";
import { fieldsOf, golden } from "./golden.js";

const strand = golden("strand");
const CITY = fromHex(strand.city);
const T0 = 1_700_000_000_000;

async function writer() {
  const { opening } = strand;
  const { sanctuary, challenge } = fieldsOf(opening.fields);
  const signer = await signerFromSeed(fromHex(strand.seals[0].seed), { extractable: true });
  return new StrandWriter({
    sanctuary, city: CITY, challenge, signer,
    opening: [fromHex(opening.payload), fromHex(opening.signature)],
    strand: await sha256(fromHex(opening.payload)),
  });
}

const feel = (w, n) =>
  w.add({ valence: n, arousal: -n }, T0 + 10 * n, fromHex(strand.salts[n]));

/** The golden strand: 32 numbers, two, and the closing seal. */
async function whole() {
  const w = await writer();
  const windows = [];
  const bodies = [];
  for (let n = 0; n < 34; n += 1) {
    bodies.push(feel(w, n));
    if (w.isFull) windows.push(w.cut(T0 + 1000));
  }
  windows.push(w.cut(T0 + 2000), w.cut(T0 + 3000, { closing: true }));
  return { w, windows, bodies };
}

test("a strand's id, bodies and chain of seals are Python's", async () => {
  const { w, windows, bodies } = await whole();
  assert.equal(hex(w.strand), strand.strand);
  assert.deepEqual(bodies.map(hex), strand.bodies);
  for (const [i, window] of windows.entries()) {
    const [payload, signature] = await window.sealed;
    assert.equal(hex(payload), strand.seals[i].payload);
    assert.equal(hex(signature), strand.seals[i].signature);
  }
});

test("a window is due after 32 samples or one second of the citizen's clock", async () => {
  const w = await writer();
  assert.equal(w.dueMs, null);
  assert.equal(w.cut(T0), null);
  feel(w, 0);
  assert.equal(w.dueMs, T0 + 1000);
  assert.ok(!w.isDue(T0 + 999) && w.isDue(T0 + 1000));
  w.cut(T0 + 1000);
  for (let n = 1; n < 33; n += 1) feel(w, n);
  assert.ok(w.isDue(T0 + 10));
  assert.throws(() => feel(w, 33), RangeError);
});

test("nothing follows a closing seal", async () => {
  const { w } = await whole();
  assert.throws(() => feel(w, 33), RangeError);
  assert.equal(w.cut(T0 + 4000, { closing: true }), null);
});

test("what the city asks for is at hand until it took it", async () => {
  const { w, windows } = await whole();
  assert.equal(w.wanted(1, T0), windows[1]);
  assert.equal(w.acknowledge(1), false);
  assert.equal(w.wanted(1, T0), null);
  assert.equal(w.acknowledge(2), true);
  const other = await writer();
  feel(other, 0);
  assert.equal(other.wanted(1, T0 + 100), null);
  const asked = other.wanted(0, T0 + 100); // still being filled: cut now
  assert.equal(asked.bodies.length, 1);
  assert.equal(other.wanted(0, T0 + 100), asked);
});

test("after a reconnect the city gets what it has not got, in order", async () => {
  const { w, windows } = await whole();
  const parts = (seq, window) => w.missing(seq, window).map((part) => [part.bodies.length, part.window]);
  assert.deepEqual(parts(30, 0), [[2, windows[0]], [2, windows[1]], [0, windows[2]], [0, null]]);
  assert.deepEqual(parts(33, 1), [[1, windows[1]], [0, windows[2]], [0, null]]);
  const open = await writer();
  for (let n = 0; n < 5; n += 1) feel(open, n);
  assert.deepEqual(open.missing(3, 0).map((part) => part.bodies.length), [2]);
  assert.equal(open.missing(5, 0)[0].bodies.length, 0);
});

test("the writer's own key signs, no other", async () => {
  const { windows } = await whole();
  const [payload, signature] = await windows[0].sealed;
  const other = await signerFromSeed(new Uint8Array(32));
  assert.notDeepEqual((await signRecord(other, "seal", CITY, payload))[1], signature);
});
