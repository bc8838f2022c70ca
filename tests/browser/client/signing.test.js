import assert from "node:assert/strict";
import { test } from "node:test";

import {
  base64url, concat, fromBase58, fromBase64url, fromHex, hex, utf8,
} from "../../../services/gateway/page/client/bytes.js";
import {
  isSmallOrder, newSigner, sha256, signerFromSeed, verify,
} from "../../../services/gateway/page/client/ed25519.js";
import { didOf, keyOf, makeToken } from "../../../services/gateway/page/client/identity.js";
import * as records from "../../../services/gateway/page/client/records.js";
import { fieldsOf, golden } from "./golden.js";

const link = ({ citizen, counter, previous, tMs }) => ({ citizen, counter, previous, tMs });
const PACK = {
  inception: (of) => records.packInception(of),
  join: (of) => records.packJoin(of),
  follow: (of) => records.packFollow(of),
  opening: (of) => records.packOpening(of),
  grant: (of) => records.packGrant(link(of), of),
  exception: (of) => records.packException(link(of), of),
  withdrawal: (of) => records.packWithdrawal(link(of), of),
  approval: (of) => records.packApproval(link(of), of),
};

const { city: cityHex, records: rows } = golden("records");
const city = fromHex(cityHex);

for (const row of rows) {
  test(`a record's bytes, signature and hash are Python's: ${row.what}`, async () => {
    const payload = PACK[row.what.split(" ")[0]](fieldsOf(row.fields));
    assert.equal(hex(payload), row.payload);
    assert.equal(hex(records.signedBytes(row.kind, city, payload)), row.signed);
    const signer = await signerFromSeed(fromHex(row.seed));
    const signed = await records.signRecord(signer, row.kind, city, payload);
    assert.equal(hex(signed[1]), row.signature);
    assert.equal(hex(await sha256(payload)), row.hash);
    assert.ok(await records.verifyRecord(signer.publicKey, row.kind, city, signed));
    assert.ok(!(await records.verifyRecord(signer.publicKey, "seal", city, signed)));
  });
}

test("what was packed is read back", () => {
  for (const row of rows) {
    const { fields, payload } = { fields: fieldsOf(row.fields), payload: fromHex(row.payload) };
    if (row.kind === "opening") assert.deepEqual(records.readOpening(payload), fields);
    if (row.kind === "consent") {
      const { kind, ...read } = records.readConsent(payload);
      assert.deepEqual(read, fields);
      assert.equal(kind, row.what.split(" ")[0]);
    }
  }
  for (const seal of golden("strand").seals) {
    assert.deepEqual(records.readSeal(fromHex(seal.payload)), fieldsOf(seal.fields));
  }
});

test("a key, its did:key, and back", async () => {
  for (const { seed, key, did } of golden("keys")) {
    const signer = await signerFromSeed(fromHex(seed));
    assert.equal(hex(signer.publicKey), key);
    assert.equal(didOf(signer.publicKey), did);
    assert.equal(hex(keyOf(did)), key);
  }
});

test("a did that is not the one spelling of a key is refused", () => {
  const { did, key } = golden("keys")[0];
  const small = didOf(fromHex("01" + "00".repeat(31)));
  for (const bad of [
    "", "did:key:z", did.slice(0, -1), `${did}1`, did.replace("z", "m"), `${did.slice(0, -1)}0`,
    did.replace("did:key:z", "did:key:z1"), small, did + "z".repeat(80),
    // of another kind of key (x25519)
    `did:key:z6LS${did.slice(13)}`,
  ]) {
    assert.throws(() => keyOf(bad), RangeError, bad);
  }
  assert.equal(hex(fromBase58(did.slice(9))), `ed01${key}`);
});

test("a token is Python's", async () => {
  const { tokens } = golden("tokens");
  for (const row of tokens) {
    const token = await makeToken(await signerFromSeed(fromHex(row.seed)), {
      origin: row.origin,
      city,
      nonce: fromHex(row.nonce),
      citizen: row.citizen && fromHex(row.citizen),
      nowMs: row.now_ms,
    });
    assert.equal(token, row.token);
  }
});

for (const { key, small_order: small } of golden("small_order")) {
  test(`the point ${key.slice(0, 8)}…${key.slice(-2)} is ${small ? "" : "not "}of small order`, () => {
    assert.equal(isSmallOrder(fromHex(key)), small);
  });
}

test("a signature is good or not as the city's verifier finds it", async () => {
  const rows = golden("signatures");
  assert.ok(rows.some((row) => row.good) && rows.length > 30);
  for (const { what, key, message, signature, good } of rows) {
    assert.equal(await verify(fromHex(key), fromHex(message), fromHex(signature)), good, what);
  }
});

test("a session's key cannot be taken out, a strand's can", async () => {
  const device = await newSigner();
  await assert.rejects(device.seed(), DOMException);
  assert.equal(device.privateKey.extractable, false);
  const strand = await newSigner({ extractable: true });
  const again = await signerFromSeed(await strand.seed());
  assert.deepEqual(again.publicKey, strand.publicKey);
  await assert.rejects(again.seed(), DOMException);
  assert.ok(await verify(device.publicKey, utf8("hello"), await device.sign(utf8("hello"))));
});

test("spellings of bytes come back, and others are refused", () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, n) => n);
  assert.deepEqual(fromHex(hex(bytes)), bytes);
  assert.deepEqual(fromBase64url(base64url(bytes)), bytes);
  assert.deepEqual(concat(bytes.subarray(0, 9), bytes.subarray(9)), bytes);
  for (const bad of ["a", "zz", " a"]) assert.throws(() => fromHex(bad), RangeError);
  for (const bad of ["a", "a+b/", "YQ=="]) assert.throws(() => fromBase64url(bad), RangeError);
});
