import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { hex } from "../../../services/gateway/page/client/bytes.js";
import { comeBackAfterMs } from "../../../services/gateway/page/client/closes.js";
import { sha256, signerFromSeed } from "../../../services/gateway/page/client/ed25519.js";
import { pack, unpack } from "../../../services/gateway/page/client/messagepack.js";
import {
  packGrant, readConsent, readOpening, readSeal, verifyRecord, ZERO_HASH,
} from "../../../services/gateway/page/client/records.js";
import { Session } from "../../../services/gateway/page/client/session.js";
import { Viewer } from "../../../services/gateway/page/client/viewer.js";

const filled = (length, byte) => new Uint8Array(length).fill(byte);
const [CITY, ROOM, CITIZEN] = [filled(32, 1), filled(16, 2), filled(16, 3)];
const [HERE, ELSEWHERE] = [filled(16, 4), filled(16, 5)]; // challenges
const T0 = 1_700_000_000_000;
const FEELING = { valence: 1, arousal: 2 };

let session;
let seeds;

beforeEach(async () => {
  seeds = 50;
  session = new Session({
    keys: {
      device: await signerFromSeed(filled(32, 6)), identity: await signerFromSeed(filled(32, 7)),
      nextKeyHash: filled(32, 8),
    },
    createdMs: T0,
    viewer: new Viewer(),
    random: (count) => filled(count, 9),
    strandSigner: () => signerFromSeed(filled(32, (seeds += 1)), { extractable: true }),
  });
});

const policy = (kind) =>
  pack(["policy/1", ROOM, "A room", kind, "open", 3, 500, 50, 45, kind === "stage", null, ""]);

/** Give messages from the city; answers with what the session says. */
async function give(...messages) {
  for (const [type, fields, nowMs = T0] of messages) await session.receive({ type, ...fields }, nowMs);
  return session.takeMessages();
}

const hello = (nowMs = T0) => ["hello", {
  version: 1, session: filled(16, 10), nowMs, origin: "http://here", city: CITY, gateway: "gateway-0",
  limits: [65536, 64, 128, 256, 30000, 5],
}];
const welcome = (citizen = CITIZEN) => ["welcome", { session: filled(16, 10), citizen, expiresMs: T0 + 300_000 }];
const chain = ["chain", { ref: 0, citizen: CITIZEN, counter: 0, head: ZERO_HASH, records: [] }];
const joined = (kind = "commons") =>
  ["joined", { ref: 0, sanctuary: ROOM, policy: policy(kind), policyHash: filled(32, 11) }];
const challenge = (which = HERE, reopen = false) =>
  ["challenge", { sanctuary: ROOM, challenge: which, reopen, nowMs: T0 }];
const names = (messages) => messages.map(([name]) => name);
const events = () => session.takeEvents();
const eventOf = (type, among = events()) => among.find((event) => event.type === type);

/** Seated, and speaking on an open strand; its id. */
async function speaking(kind = "commons") {
  await give(hello(), welcome(), chain);
  await session.voices.join(ROOM, T0);
  await session.voices.speak(ROOM, "Ada", T0);
  const said = await give(joined(kind), challenge());
  const [, , , [payload]] = said.find(([name]) => name === "open");
  const strand = await sha256(payload);
  await give(["opened", { ref: 0, strand, nextSeq: 0, nextWindow: 0 }]);
  events();
  return strand;
}

async function feel(nowMs = T0) {
  const seq = await session.voices.feel(ROOM, FEELING, nowMs);
  return [seq, session.takeMessages()];
}

test("hello, token, welcome, enrol; then the chain and the places", async () => {
  await session.voices.join(ROOM, T0);
  const [[name, jwt]] = await give(hello());
  assert.equal(name, "token");
  const claims = JSON.parse(atob(jwt.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
  assert.equal(claims.nonce, hex(filled(16, 10)));
  assert.equal(claims.cit, undefined);
  assert.deepEqual(names(await give(welcome(null))), ["enrol"]);
  const said = await give(["enrolled", { ref: 1, citizen: CITIZEN }]);
  assert.deepEqual(names(said), ["chain?", "join"]);
  assert.deepEqual(said[1][4], []);
});

test("a nonce is answered on the live socket with a new token", async () => {
  await give(hello(), welcome(), chain);
  const [[name, jwt]] = await give(["nonce", { nonce: filled(16, 12), withinS: 30 }]);
  assert.equal(name, "token");
  const claims = JSON.parse(atob(jwt.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
  assert.equal(claims.nonce, "0c".repeat(16));
  assert.equal(claims.cit, hex(CITIZEN));
  assert.deepEqual(await give(welcome()), []); // a renewal settles nothing anew
});

test("a clock that is wrong by minutes is corrected by the city's", async () => {
  const [[, jwt]] = await give(hello(T0 + 600_000));
  const claims = JSON.parse(atob(jwt.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
  assert.equal(claims.exp, Math.floor((T0 + 600_000) / 1000) + 300);
  assert.equal(session.cityMs(T0), T0 + 600_000);
  await give(hello(T0 + 4000));
  assert.equal(session.cityMs(T0), T0);
});

test("nothing is said before a strand is open", async () => {
  await give(hello(), welcome(), chain);
  await session.voices.join(ROOM, T0);
  session.takeMessages();
  assert.deepEqual(await feel(), [null, []]);
  await session.voices.speak(ROOM, null, T0);
  assert.deepEqual(await give(joined()), []); // no challenge yet
  assert.deepEqual(names(await give(challenge())), ["open"]);
  assert.deepEqual(await feel(), [null, []]);
});

test("samples, a seal after one second, another after 32 samples", async () => {
  const strand = await speaking();
  const [seq, [[name, , of, epoch, bodies]]] = await feel();
  assert.deepEqual([seq, name, of, epoch, bodies.length], [0, "samples", strand, 0, 1]);
  assert.ok(session.nextDeadlineMs() <= T0 + 1000);
  await session.tick(T0 + 1000);
  const seal = session.takeMessages().find(([each]) => each === "seal");
  assert.deepEqual(seal[2], strand);
  assert.equal(readSeal(seal[3][0]).hashes.length, 1);
  const said = [];
  for (let n = 0; n < 32; n += 1) said.push(...names((await feel(T0 + 1500))[1]));
  assert.deepEqual(said.slice(-2), ["samples", "seal"]);
});

test("an overdue window is cut before the next sample", async () => {
  await speaking();
  await feel();
  const [seq, said] = await feel(T0 + 5000);
  assert.deepEqual([seq, names(said)], [1, ["seal", "samples"]]);
});

test("a seal is sent again when asked for, until it was taken", async () => {
  const strand = await speaking();
  await feel();
  const wanted = ["seal?", { strand, window: 0 }];
  const first = await give(wanted);
  assert.deepEqual(names(first), ["seal"]);
  assert.deepEqual(await give(wanted), first);
  await give(["sealed", { strand, window: 0, admitted: [0] }]);
  assert.deepEqual(await give(wanted), []);
});

test("hush closes with a closing seal, and a minute later publishes the key", async () => {
  const strand = await speaking();
  await feel();
  await session.voices.hush(ROOM, T0);
  const [[name, , , [payload]]] = session.takeMessages();
  assert.equal(name, "seal");
  assert.deepEqual([readSeal(payload).flags, readSeal(payload).total], [1, 1]);
  await give(["sealed", { strand, window: 0, admitted: [0] }]);
  assert.equal(eventOf("voice ended").reason, "closed");
  await session.tick(T0 + 59_999);
  assert.ok(!names(session.takeMessages()).includes("release"));
  await session.tick(T0 + 60_000);
  const release = session.takeMessages().find(([each]) => each === "release");
  assert.deepEqual(release.slice(2), [strand, filled(32, 51)]);
  await session.tick(T0 + 120_000);
  assert.ok(!names(session.takeMessages()).includes("release"));
});

test("who speaks again before the closing seal was taken gets a new strand behind it", async () => {
  const strand = await speaking();
  await session.voices.hush(ROOM, T0);
  await session.voices.speak(ROOM, "Zoë", T0);
  assert.deepEqual(names(session.takeMessages()), ["seal"]);
  const said = await give(["sealed", { strand, window: 0, admitted: [] }]);
  assert.equal(eventOf("voice ended").reason, "closed");
  assert.deepEqual(names(said), ["open"]);
});

test("a stage's strands keep their keys", async () => {
  const strand = await speaking("stage");
  await session.voices.hush(ROOM, T0);
  session.takeMessages();
  await give(["sealed", { strand, window: 0, admitted: [] }]);
  await session.tick(T0 + 60_000);
  assert.ok(!names(session.takeMessages()).includes("release"));
});

test("reopen, another challenge, or a changed policy: a new strand with a new key", async () => {
  for (const message of [challenge(ELSEWHERE, true), challenge(HERE, true), ["policy", joined()[1]]]) {
    const strand = await speaking();
    const [[name, , , [payload]]] = await give(message);
    assert.equal(name, "open");
    assert.notDeepEqual(await sha256(payload), strand);
    assert.equal(eventOf("voice ended").reason, "interrupted");
    session.voices.places.clear();
    session.disconnected();
  }
});

test("after a reconnect the same opening goes again, and what was not taken follows", async () => {
  const strand = await speaking();
  await feel();
  await feel();
  session.disconnected();
  assert.deepEqual(await feel(), [null, []]);
  const said = await give(hello(), welcome(), chain, joined(), challenge());
  const open = said.find(([name]) => name === "open");
  assert.deepEqual(await sha256(open[3][0]), strand);
  assert.equal(names(said).filter((name) => name === "join").length, 1);
  const again = await give(["opened", { ref: 0, strand, nextSeq: 1, nextWindow: 0 }]);
  assert.deepEqual(names(again), ["samples"]);
  assert.equal(again[0][4].length, 1);
  assert.equal((await feel())[0], 2);
});

test("a strand that the city no longer knows is opened anew", async () => {
  const strand = await speaking();
  await feel();
  const said = await give(
    ["refused samples", { strand, first: 0, last: 0, reason: "unknown strand", nowMs: T0 }],
  );
  assert.deepEqual(names(said), ["open"]);
  assert.notDeepEqual(await sha256(said[0][3][0]), strand);
  assert.equal(readOpening(said[0][3][0]).name, "Ada");
});

test("an opening that is refused is tried again if that can help", async () => {
  const strand = await speaking();
  session.disconnected();
  const open = (await give(hello(), welcome(), chain, joined(), challenge())).find(([n]) => n === "open");
  const refuse = (reason, ref) => give(["refused", { ref, reason, meaning: "", nowMs: T0 }]);
  await refuse("unknown strand", open[1]);
  assert.equal(eventOf("voice ended").strand, hex(strand));
  await session.tick(T0 + 100);
  assert.ok(names(session.takeMessages()).includes("join"));
  const anew = (await give(joined())).find(([name]) => name === "open");
  assert.notDeepEqual(await sha256(anew[3][0]), strand);
  await refuse("not invited", anew[1]);
  await session.tick(T0 + 100_000);
  assert.ok(!names(session.takeMessages()).some((name) => name === "join" || name === "open"));
});

test("a withdrawal goes out first on the next socket, and until it is recorded", async () => {
  await speaking();
  assert.equal(await session.consentTo("withdrawal", { sanctuary: null, audience: null, purpose: null }, T0), 1);
  const [record] = session.takeMessages();
  session.disconnected();
  assert.equal(session.nextDeadlineMs(), null);
  await give(hello());
  assert.equal(session.nextDeadlineMs(), null); // no busy waiting for the welcome
  session.disconnected();
  const said = await give(hello(), welcome());
  assert.deepEqual(names(said), ["token", "record", "chain?", "join"]);
  assert.deepEqual(said[1], record);
  await session.tick(T0 + 1000);
  assert.ok(names(session.takeMessages()).includes("record"));
  await give(["acted", { citizen: CITIZEN, counter: 1 }]);
  await give(["recorded", { ref: record[1], citizen: CITIZEN, counter: 1, head: await sha256(record[2][0]) }]);
  const seen = events();
  assert.equal(eventOf("acted", seen).counter, 1);
  assert.equal(eventOf("recorded", seen).kind, "withdrawal");
  await session.tick(T0 + 9000);
  assert.ok(!names(session.takeMessages()).includes("record"));
});

test("a socket that no longer answers is given up", async () => {
  await give(hello(), welcome(), chain);
  await session.tick(T0);
  assert.deepEqual(names(session.takeMessages()), ["time?"]);
  await give(["time", { clientMs: T0, nowMs: T0 + 7 }, T0 + 20]);
  assert.deepEqual(eventOf("delay"), { type: "delay", roundTripMs: 20, offsetMs: -13 });
  await session.tick(T0 + 5000);
  await session.tick(T0 + 14_999);
  assert.equal(eventOf("silent"), undefined);
  await session.tick(T0 + 15_000);
  assert.ok(eventOf("silent"));
});

test("a session that waits for something never waits for a moment that is past", async () => {
  await speaking();
  await feel();
  await session.consentTo("withdrawal", { sanctuary: null, audience: null, purpose: null }, T0);
  for (let at = T0, turns = 0; at < T0 + 70_000; turns += 1) {
    await session.tick(at);
    await give(["time", { clientMs: at, nowMs: at }, at]);
    const next = session.nextDeadlineMs();
    assert.ok(next > at && turns < 1000, `${next} after ${at}`);
    at = next;
  }
});

test("come back or not, and when", () => {
  const at = (code, changes = {}) => comeBackAfterMs(code, { attempt: 0, chance: 0.5, ...changes });
  for (const code of [4000, 4002, 4004]) assert.equal(at(code), null);
  for (const code of [1001, 1006, 4001, 4003, 4006, 4007, 4010]) {
    assert.equal(at(code), 187.5);
    assert.equal(at(code, { attempt: 2 }), 750);
    assert.equal(at(code, { attempt: 99 }), 3750);
  }
  assert.ok(at(4005) >= 5000);
  assert.equal(at(4008, { moveWithinMs: 10_000 }), 5000);
  assert.equal(at(1000, { moveWithinMs: 0 }), 0);
});

test("the pages of a long chain are asked for one by one, and again when no answer comes", async () => {
  const payloads = [];
  let head = ZERO_HASH;
  for (const counter of [1, 2, 3]) {
    const of = { sanctuary: ROOM, audience: 0, tier: 3, purpose: 0, untilMs: null };
    payloads.push(packGrant({ citizen: CITIZEN, counter, previous: head, tMs: T0 }, of));
    head = await sha256(payloads.at(-1));
  }
  const page = (ref, number) => ["chain", {
    ref, citizen: CITIZEN, counter: 3, head, records: [[payloads[number - 1], filled(64, 0)]],
  }];
  const asked = (said) => said.find(([name]) => name === "chain?");
  const newest = asked(await give(hello(), welcome()));
  assert.equal(newest[3], null);
  const second = asked(await give(page(newest[1], 3)));
  assert.equal(second[3], 3);
  await session.tick(T0 + 2000);
  const again = asked(session.takeMessages());
  assert.equal(again[3], 3);
  await give(["refused", { ref: again[1], reason: "too fast", meaning: "", nowMs: T0 }, T0 + 2000]);
  await session.tick(T0 + 4000);
  assert.equal(asked(session.takeMessages()), undefined); // at once would only be refused again
  const third = asked(await give(page(second[1], 2)));
  assert.equal(third[3], 2);
  assert.ok(!session.consent.isWhole);
  assert.equal(asked(await give(page(third[1], 1))), undefined);
  assert.ok(session.consent.isWhole);
  await session.tick(T0 + 60_000);
  assert.equal(asked(session.takeMessages()), undefined);
});

test("enrolling is asked again when no answer comes, and a minute after too many did", async () => {
  const enrols = async (atMs) => {
    await session.tick(atMs);
    return session.takeMessages().filter(([name]) => name === "enrol");
  };
  await give(hello(), welcome(null));
  assert.equal((await enrols(T0 + 1999)).length, 0);
  const [[, ref]] = await enrols(T0 + 2000);
  await give(["refused", { ref, reason: "too many enrolments", meaning: "", nowMs: T0 }, T0 + 2000]);
  assert.equal((await enrols(T0 + 61_999)).length, 0);
  assert.equal((await enrols(T0 + 62_000)).length, 1);
  await give(["enrolled", { ref: 0, citizen: CITIZEN }, T0 + 62_100]);
  assert.equal((await enrols(T0 + 70_000)).length, 0);
});

const follows = (messages) => messages.filter(([name]) => name === "follow");
const followedIn = ([, , , [payload]]) => unpack(payload).slice(7);
const following = (ref, count) => ["following", { ref, sanctuary: ROOM, count }];

test("whom one follows is said with the seat, again until it is answered, and after a reconnect", async () => {
  await session.voices.join(ROOM, T0);
  await session.voices.follows.follow(ROOM, [HERE, ELSEWHERE], T0);
  assert.deepEqual(follows(await give(hello(), welcome(), chain)), []);
  const [follow] = follows(await give(joined()));
  assert.deepEqual(followedIn(follow), [1, [HERE, ELSEWHERE]]);
  assert.ok(await verifyRecord(session.keys.device.publicKey, "follow", CITY, follow[3]));
  await session.tick(T0 + 999);
  assert.deepEqual(follows(session.takeMessages()), []);
  await session.tick(T0 + 1000);
  const [again] = follows(session.takeMessages());
  assert.deepEqual(followedIn(again), [2, [HERE, ELSEWHERE]]);
  events();
  await give(following(follow[1], 2));
  assert.equal(eventOf("following"), undefined); // of the list before
  await give(following(again[1], 2));
  assert.deepEqual(eventOf("following"), { type: "following", sanctuary: hex(ROOM), count: 2 });
  await session.tick(T0 + 9000);
  assert.deepEqual(follows(session.takeMessages()), []);
  session.disconnected();
  assert.equal(follows(await give(hello(), welcome(), chain, joined())).length, 1);
});

test("nobody at all ends it, and a place that one leaves is forgotten", async () => {
  await session.voices.join(ROOM, T0);
  await give(hello(), welcome(), chain, joined());
  await session.voices.follows.follow(ROOM, [HERE], T0);
  await session.voices.follows.follow(ROOM, [], T0);
  const said = follows(session.takeMessages());
  assert.deepEqual(said.map(followedIn), [[1, [HERE]], [2, []]]);
  await session.voices.leave(ROOM, T0);
  await session.voices.join(ROOM, T0);
  assert.deepEqual(follows(await give(joined())), []);
  await assert.rejects(session.voices.follows.follow(ROOM, Array(65).fill(HERE), T0), RangeError);
});

test("a list refused for the moment is signed anew, and another is told", async () => {
  await session.voices.join(ROOM, T0);
  await give(hello(), welcome(), chain, joined());
  await session.voices.follows.follow(ROOM, [HERE], T0);
  const refuse = (reason, [, ref]) => give(["refused", { ref, reason, meaning: "", nowMs: T0 + 600_000 }]);
  const [first] = follows(session.takeMessages());
  await refuse("skew", first);
  assert.equal(session.cityMs(T0), T0 + 600_000);
  await session.tick(T0 + 1000);
  const [second] = follows(session.takeMessages());
  assert.equal(unpack(second[3][0])[6], T0 + 601_000);
  events();
  await refuse("full", second);
  assert.equal(eventOf("refused").what, "follow");
  await session.tick(T0 + 100_000);
  assert.deepEqual(follows(session.takeMessages()), []);
});

test("an approval takes the identity key, and its end the device's", async () => {
  await give(hello(), welcome(), chain);
  for (const [isApproved, signer] of [[true, session.keys.identity], [false, session.keys.device]]) {
    await session.consentTo("approval", { person: HERE, isApproved, untilMs: null }, T0);
    const [, , record] = session.takeMessages().findLast(([name]) => name === "record");
    assert.equal(readConsent(record[0]).isApproved, isApproved);
    assert.ok(await verifyRecord(signer.publicKey, "consent", CITY, record));
  }
});

test("what another page has recorded is fetched when it is wanted", async () => {
  await give(hello(), welcome(), chain);
  const of = { sanctuary: ROOM, audience: 0, tier: 3, purpose: 0, untilMs: null };
  assert.equal(session.consent.grant(of), null);
  session.askChain(T0);
  assert.deepEqual(names(session.takeMessages()), ["chain?"]);
  const payload = packGrant({ citizen: CITIZEN, counter: 1, previous: ZERO_HASH, tMs: T0 }, of);
  const records = [[payload, filled(64, 0)]];
  await give(["chain", { ref: 0, citizen: CITIZEN, counter: 1, head: await sha256(payload), records }]);
  assert.equal(session.consent.grant(of).tier, 3);
});
