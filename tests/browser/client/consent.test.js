import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { ConsentChain } from "../../../services/gateway/page/client/consent_chain.js";
import { sha256, signerFromSeed } from "../../../services/gateway/page/client/ed25519.js";
import {
  Audience, packGrant, Purpose, readConsent, Tier, verifyRecord, ZERO_HASH,
} from "../../../services/gateway/page/client/records.js";

const filled = (length, byte) => new Uint8Array(length).fill(byte);
const [CITY, CITIZEN, ROOM, OTHER] = [filled(32, 1), filled(16, 2), filled(16, 3), filled(16, 4)];
const T0 = 1_700_000_000_000;
const EVERYTHING = { sanctuary: null, audience: null, purpose: null };
const grant = (changes = {}) => ({
  sanctuary: ROOM, audience: Audience.MEMBERS, tier: Tier.FULL, purpose: Purpose.LIVE, untilMs: null,
  ...changes,
});
const signer = await signerFromSeed(filled(32, 5));
const EMPTY = { counter: 0, head: ZERO_HASH, records: [] };

let chain;
let ref;

beforeEach(async () => {
  chain = new ConsentChain();
  chain.belongsTo({ city: CITY, citizen: CITIZEN });
  ref = 0;
});

const add = (kind, of) => chain.add(kind, of, { signer, ref: (ref += 1), tMs: T0 });
const headOf = (pending) => sha256(pending.record[0]);
const tier = (changes = {}) => chain.tier({ ...grant(), nowMs: T0, ...changes });

/** The city records everything that is due. */
async function recordAll(nowMs = T0) {
  for (const pending of chain.due(nowMs)) {
    await chain.recorded({ counter: pending.counter, head: await headOf(pending) });
  }
}

test("records follow one another, each signed, and repeated until recorded", async () => {
  await chain.load(EMPTY, T0);
  assert.equal(await add("grant", grant()), 1);
  assert.equal(await add("withdrawal", EVERYTHING), 2);
  const [one, two] = chain.due(T0);
  assert.ok(await verifyRecord(signer.publicKey, "consent", CITY, one.record));
  assert.deepEqual(readConsent(one.record[0]).previous, ZERO_HASH);
  assert.deepEqual(readConsent(two.record[0]).previous, await headOf(one));
  assert.deepEqual(chain.due(T0 + 999), []);
  assert.deepEqual(chain.due(T0 + 1000), [one, two]);
  await chain.recorded({ counter: 1, head: await headOf(one) });
  assert.deepEqual(chain.due(T0 + 2000), [two]);
  chain.reconnected();
  assert.deepEqual(chain.due(T0 + 2000), [two]);
  await chain.recorded({ counter: 2, head: await headOf(two) });
  assert.ok(chain.isSettled && chain.dueMs === null && chain.counter === 2);
});

test("what is said after a withdrawal carries its counter before it is recorded", async () => {
  await chain.load(EMPTY, T0);
  await add("grant", grant());
  await recordAll();
  assert.equal(chain.epoch, 1);
  await add("withdrawal", EVERYTHING);
  assert.equal(chain.epoch, 2);
  assert.equal(chain.counter, 1);
});

test("a wish before the chain is known is signed behind its head", async () => {
  assert.equal(await add("withdrawal", EVERYTHING), null);
  assert.ok(!chain.isSettled);
  const first = packGrant({ citizen: CITIZEN, counter: 1, previous: ZERO_HASH, tMs: T0 }, grant());
  await chain.load({ counter: 1, head: await sha256(first), records: [[first, filled(64, 0)]] }, T0);
  const [pending] = chain.due(T0);
  assert.equal(pending.counter, 2);
  assert.deepEqual(readConsent(pending.record[0]).previous, await sha256(first));
});

test("overtaken by another device, a withdrawal is made anew and a grant is given back", async () => {
  await chain.load(EMPTY, T0);
  await add("grant", grant());
  await add("withdrawal", EVERYTHING);
  const theirs = packGrant(
    { citizen: CITIZEN, counter: 1, previous: ZERO_HASH, tMs: T0 }, grant({ tier: Tier.COARSE }),
  );
  assert.deepEqual(chain.refused(1, "stale").askChain, true);
  const { given, recorded } = await chain.load(
    { counter: 1, head: await sha256(theirs), records: [[theirs, filled(64, 0)]] }, T0,
  );
  assert.deepEqual(given.map(({ kind }) => kind), ["grant"]);
  assert.deepEqual(recorded, []);
  const [pending] = chain.due(T0);
  assert.deepEqual([pending.kind, pending.counter], ["withdrawal", 2]);
});

test("a grant that narrows is made anew too", async () => {
  await chain.load(EMPTY, T0);
  await add("grant", grant({ tier: Tier.AGGREGATE }));
  const theirs = packGrant(
    { citizen: CITIZEN, counter: 1, previous: ZERO_HASH, tMs: T0 }, grant({ tier: Tier.COARSE }),
  );
  const answer = { counter: 1, head: await sha256(theirs), records: [[theirs, filled(64, 0)]] };
  assert.deepEqual((await chain.load(answer, T0)).given, []);
  assert.equal(chain.due(T0)[0].counter, 2);
});

test("a record whose answer was lost is found in the chain", async () => {
  await chain.load(EMPTY, T0);
  await add("grant", grant());
  const [pending] = chain.due(T0);
  const answer = { counter: 1, head: await headOf(pending), records: [pending.record] };
  const { recorded } = await chain.load(answer, T0);
  assert.deepEqual(recorded, [pending]);
  assert.ok(chain.isSettled);
});

test("a refusal that passes keeps the record, another gives it up", async () => {
  await chain.load(EMPTY, T0);
  await add("grant", grant());
  assert.equal(chain.refused(1, "not ready").askChain, false);
  assert.equal(chain.due(T0).length, 1);
  assert.equal(chain.refused(1, "needs the identity key").isLost, true);
  assert.ok(chain.isSettled);
  assert.equal(chain.refused(77, "stale"), null);
});

test("a chain that does not hold together is not believed", async () => {
  const link = { citizen: CITIZEN, counter: 1, previous: ZERO_HASH, tMs: T0 };
  const good = packGrant(link, grant());
  const head = await sha256(good);
  const signed = (payload) => [[payload, filled(64, 0)]];
  const cases = {
    "another head": { counter: 1, head: ZERO_HASH, records: signed(good) },
    "another counter": { counter: 2, head, records: signed(good) },
    "another citizen": { counter: 1, head, records: signed(packGrant({ ...link, citizen: OTHER }, grant())) },
    "no records": { counter: 1, head, records: [] },
    "too many": { counter: 0, head, records: signed(good) },
  };
  for (const [what, answer] of Object.entries(cases)) {
    await assert.rejects(chain.load(answer, T0), RangeError, what);
  }
  assert.ok(!chain.isKnown);
});

test("of a long chain the newest records are enough to go on, not to say who sees what", async () => {
  const previous = filled(32, 9);
  const newest = packGrant({ citizen: CITIZEN, counter: 900, previous, tMs: T0 }, grant());
  const answer = { counter: 900, head: await sha256(newest), records: [[newest, filled(64, 0)]] };
  await chain.load(answer, T0);
  assert.equal(chain.isWhole, false);
  assert.equal(await add("withdrawal", EVERYTHING), 901);
});

test("the tier of an audience: own entry before any, until it expires or is withdrawn", async () => {
  await chain.load(EMPTY, T0);
  assert.equal(tier(), Tier.WITHHELD);
  await add("grant", grant({ sanctuary: null, tier: Tier.COARSE }));
  await add("grant", grant({ untilMs: T0 + 1000 }));
  assert.equal(tier(), Tier.WITHHELD); // widening records, then acts
  await recordAll();
  assert.equal(tier(), Tier.FULL);
  assert.equal(tier({ sanctuary: OTHER }), Tier.COARSE);
  assert.equal(tier({ audience: Audience.PUBLIC }), Tier.WITHHELD);
  assert.equal(tier({ purpose: Purpose.RECORD }), Tier.WITHHELD);
  assert.equal(tier({ nowMs: T0 + 1000 }), Tier.WITHHELD); // shadows the entry for any
  await add("withdrawal", { ...EVERYTHING, sanctuary: OTHER });
  await recordAll();
  assert.equal(tier({ sanctuary: OTHER }), Tier.WITHHELD);
  assert.equal(tier(), Tier.FULL);
  await add("withdrawal", { ...EVERYTHING, audience: Audience.PUBLIC });
  await recordAll();
  assert.equal(tier(), Tier.FULL);
  await add("withdrawal", EVERYTHING);
  await recordAll();
  assert.equal(tier(), Tier.WITHHELD);
});

test("an exception stands until it is lifted", async () => {
  await chain.load(EMPTY, T0);
  const exception = { sanctuary: null, person: OTHER, tier: Tier.WITHHELD, untilMs: null };
  await add("exception", exception);
  await recordAll();
  assert.deepEqual([...chain.exceptions.values()], [exception]);
  await add("exception", { ...exception, tier: Tier.FULL });
  await recordAll();
  assert.equal(chain.exceptions.size, 0);
});

/** A chain of `count` grants in turn to the room and to another: [payload, signature] each. */
async function written(count) {
  const records = [];
  let previous = ZERO_HASH;
  for (let counter = 1; counter <= count; counter += 1) {
    const of = grant({ sanctuary: counter === 1 ? OTHER : ROOM, tier: Tier.COARSE });
    const payload = packGrant({ citizen: CITIZEN, counter, previous, tMs: T0 }, of);
    previous = await sha256(payload);
    records.push([payload, filled(64, 0)]);
  }
  return { counter: count, head: previous, records };
}

test("a long chain is read from its end, and whole once its first page has come", async () => {
  const answer = await written(5);
  const page = (from, to) => ({ ...answer, records: answer.records.slice(from, to) });
  await chain.load(page(3, 5), T0);
  assert.deepEqual([chain.isKnown, chain.isWhole, chain.before, chain.counter], [true, false, 4, 5]);
  assert.equal(tier({ sanctuary: OTHER }), Tier.WITHHELD);
  await add("grant", grant({ tier: Tier.FULL }));
  await recordAll(); // while pages are still to come
  assert.ok(await chain.loadOlder(page(1, 3)));
  assert.ok(!await chain.loadOlder(page(1, 3))); // a repeat
  assert.equal(chain.before, 2);
  assert.ok(await chain.loadOlder(page(0, 1)));
  assert.deepEqual([chain.isWhole, chain.before, chain.counter], [true, null, 6]);
  assert.deepEqual([tier({ sanctuary: OTHER }), tier()], [Tier.COARSE, Tier.FULL]);
});

test("a page of another chain is not joined on", async () => {
  const [answer, other] = [await written(4), await written(3)];
  await chain.load({ ...answer, records: answer.records.slice(3) }, T0);
  const forged = [[other.records[1][0], filled(64, 0)], [packGrant(
    { citizen: CITIZEN, counter: 3, previous: filled(32, 9), tMs: T0 }, grant(),
  ), filled(64, 0)]];
  await assert.rejects(chain.loadOlder({ records: forged }), RangeError);
  assert.equal(chain.before, 4);
});

test("an approval stands until it is revoked or ends, and through a withdrawal", async () => {
  await chain.load(EMPTY, T0);
  assert.ok(!chain.mayFollow(OTHER, T0));
  await add("approval", { person: OTHER, isApproved: true, untilMs: T0 + 1000 });
  assert.ok(!chain.mayFollow(OTHER, T0)); // widening records, then acts
  await recordAll();
  assert.ok(chain.mayFollow(OTHER, T0 + 999));
  assert.ok(!chain.mayFollow(OTHER, T0 + 1000));
  assert.ok(!chain.mayFollow(ROOM, T0));
  await add("withdrawal", EVERYTHING);
  await recordAll();
  assert.ok(chain.mayFollow(OTHER, T0));
  await add("approval", { person: OTHER, isApproved: false, untilMs: null });
  await recordAll();
  assert.ok(!chain.mayFollow(OTHER, T0));
  assert.equal(chain.approved.size, 0);
});

test("overtaken by another device, the end of an approval is made anew and an approval is given back", async () => {
  await chain.load(EMPTY, T0);
  await add("approval", { person: OTHER, isApproved: true, untilMs: null });
  await add("approval", { person: ROOM, isApproved: false, untilMs: null });
  const first = packGrant({ citizen: CITIZEN, counter: 1, previous: ZERO_HASH, tMs: T0 }, grant());
  const { given } = await chain.load(
    { counter: 1, head: await sha256(first), records: [[first, filled(64, 0)]] }, T0,
  );
  assert.deepEqual(given.map(({ of }) => of.person), [OTHER]);
  assert.deepEqual(chain.due(T0 + 9000).map(({ of }) => of.person), [ROOM]);
});
