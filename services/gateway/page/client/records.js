/** What people sign: inception, join, opening, seal, consent records. Pure but for the signature. */

import { concat, utf8 } from "./bytes.js";
import { verify } from "./ed25519.js";
import { MessagePackError, pack, unpack, unpackCanonical } from "./messagepack.js";

export const RECORD_BYTES_MAX = 4096;
/** A window is cut after 32 samples or one second of the citizen's own clock. */
export const WINDOW_SAMPLES_MAX = 32;
export const WINDOW_MS_MAX = 1000;
/** How long after a commons or circle strand ends its client publishes the strand's key. */
export const STRAND_KEY_PUBLISH_AFTER_MS = 60_000;
/** Bit 0 of a seal's flags: the strand's last seal; it carries `total`. */
export const SEAL_CLOSING = 1;
/** Whom one session may follow in one sanctuary. */
export const FOLLOWED_MAX = 64;
/** Stands for "no previous record" in chains and seals. */
export const ZERO_HASH = new Uint8Array(32);

/** How closely somebody is seen. Ordered: the least of several is the effective one. */
export const Tier = Object.freeze({ WITHHELD: 0, AGGREGATE: 1, COARSE: 2, FULL: 3 });
export const Audience = Object.freeze({ MEMBERS: 0, PUBLIC: 1, FOLLOWERS: 2, PRESS: 3 });
export const Purpose = Object.freeze({ LIVE: 0, RECORD: 1 });

/** @typedef {[payload: Uint8Array, signature: Uint8Array]} SignedRecord */
/** @typedef {"inception"|"join"|"follow"|"opening"|"seal"|"consent"} RecordKind */

/** @returns {Uint8Array} what a signature covers */
export function signedBytes(/** @type {RecordKind} */ kind, city, payload) {
  return concat(utf8(`synchronia/1/${kind}\n`), city, payload);
}

/**
 * @param {import("./ed25519.js").Signer} signer
 * @param {RecordKind} kind the domain of the signature
 * @param {Uint8Array} city 32 bytes
 * @param {Uint8Array} payload 1…4096 bytes
 * @returns {Promise<SignedRecord>}
 */
export async function signRecord(signer, kind, city, payload) {
  if (payload.length > RECORD_BYTES_MAX) throw new RangeError("a record has at most 4096 bytes");
  return [payload, await signer.sign(signedBytes(kind, city, payload))];
}

/**
 * @param {Uint8Array} publicKey 32 bytes
 * @param {RecordKind} kind
 * @param {Uint8Array} city 32 bytes
 * @param {SignedRecord} record
 * @returns {Promise<boolean>}
 */
export function verifyRecord(publicKey, kind, city, [payload, signature]) {
  return verify(publicKey, signedBytes(kind, city, payload), signature);
}

/**
 * A person's beginning, signed by the identity key.
 * @param {{identityKey: Uint8Array, nextKeyHash: Uint8Array, devices: Uint8Array[], createdMs: number}} of
 */
export function packInception({ identityKey, nextKeyHash, devices, createdMs }) {
  return pack(["inception/1", identityKey, nextKeyHash, devices, createdMs]);
}

/**
 * Signed by the device key, for one session of one gateway only.
 * @param {{sanctuary: Uint8Array, session: Uint8Array, gateway: string, citizen: Uint8Array,
 *          device: Uint8Array, tMs: number}} of
 */
export function packJoin({ sanctuary, session, gateway, citizen, device, tMs }) {
  return pack(["join/1", sanctuary, session, gateway, citizen, device, tMs]);
}

/**
 * Whom a session follows, all of them; signed by the device key. A higher `number` replaces the list.
 * @param {{sanctuary: Uint8Array, session: Uint8Array, gateway: string, citizen: Uint8Array,
 *          device: Uint8Array, tMs: number, number: number, followed: Uint8Array[]}} of
 */
export function packFollow(of) {
  return pack([
    "follow/1", of.sanctuary, of.session, of.gateway, of.citizen, of.device, of.tMs, of.number, of.followed,
  ]);
}

/**
 * @typedef {object} Opening
 * @property {Uint8Array} sanctuary 16 bytes
 * @property {Uint8Array} citizen 16 bytes
 * @property {Uint8Array} policyHash 32 bytes
 * @property {Uint8Array} strandKey 32 bytes
 * @property {Uint8Array} device 32 bytes
 * @property {number} consentEpoch counter of the citizen's last consent record
 * @property {Uint8Array} challenge 16 bytes, the sanctuary's current one
 * @property {number} tMs Unix ms
 * @property {string|null} name at most 40 code points; what viewers at `full` may call the citizen
 */

/**
 * Opens a strand, signed by the device key; its SHA-256 is the strand's id.
 * @param {Opening} of
 */
export function packOpening(of) {
  return pack([
    "opening/1", of.sanctuary, of.citizen, of.policyHash, of.strandKey, of.device, of.consentEpoch,
    of.challenge, of.tMs, of.name,
  ]);
}

/**
 * @typedef {object} Seal
 * @property {Uint8Array} strand 32 bytes
 * @property {number} window 0, 1, 2, …
 * @property {number} firstSeq
 * @property {number} tEndMs Unix ms
 * @property {number} flags `SEAL_CLOSING` or 0
 * @property {Uint8Array[]} hashes at most 32 of 16 bytes, for `firstSeq` onwards without holes
 * @property {Uint8Array} previous SHA-256 of the previous seal's payload
 * @property {number|null} total count of numbers in the strand, in the closing seal
 */

/**
 * The strand key's word on one window.
 * @param {Seal} of
 */
export function packSeal(of) {
  return pack([
    "seal/1", of.strand, of.window, of.firstSeq, of.tEndMs, of.flags, of.hashes, of.previous, of.total,
  ]);
}

/** @param {{citizen: Uint8Array, counter: number, previous: Uint8Array, tMs: number}} link */
const linkOf = ({ citizen, counter, previous, tMs }) => [citizen, counter, previous, tMs];

/**
 * What a citizen allows; nil for sanctuary means any, nil for `untilMs` until withdrawn.
 * @param {object} link the record's place in the chain
 * @param {{sanctuary: Uint8Array|null, audience: number, tier: number, purpose: number,
 *          untilMs: number|null}} of
 */
export function packGrant(link, { sanctuary, audience, tier, purpose, untilMs }) {
  return pack(["grant/1", ...linkOf(link), sanctuary, audience, tier, purpose, untilMs]);
}

/**
 * The most that one person may see; FULL lifts it.
 * @param {object} link
 * @param {{sanctuary: Uint8Array|null, person: Uint8Array, tier: number, untilMs: number|null}} of
 */
export function packException(link, { sanctuary, person, tier, untilMs }) {
  return pack(["exception/1", ...linkOf(link), sanctuary, person, tier, untilMs]);
}

/**
 * The end of every grant that matches; nil matches all.
 * @param {object} link
 * @param {{sanctuary: Uint8Array|null, audience: number|null, purpose: number|null}} of
 */
export function packWithdrawal(link, { sanctuary, audience, purpose }) {
  return pack(["withdrawal/1", ...linkOf(link), sanctuary, audience, purpose]);
}

/**
 * Whether one person may follow, everywhere; nil for `untilMs` until revoked.
 * @param {object} link
 * @param {{person: Uint8Array, isApproved: boolean, untilMs: number|null}} of
 */
export function packApproval(link, { person, isApproved, untilMs }) {
  return pack(["approval/1", ...linkOf(link), person, isApproved, untilMs]);
}

const isKey = (value) => value instanceof Uint8Array && value.length === 32;
const isId = (value) => value instanceof Uint8Array && value.length === 16;
const isCount = (value) => Number.isSafeInteger(value) && value >= 0;

/** The fields of a signed array. @throws {MessagePackError} */
function fieldsOf(payload, tag, least) {
  const fields = unpackCanonical(payload);
  if (!Array.isArray(fields) || fields[0] !== tag || fields.length < least) {
    throw new MessagePackError(`not ${tag}`);
  }
  return fields;
}

/**
 * @param {Uint8Array} payload
 * @returns {Opening}
 * @throws {MessagePackError}
 */
export function readOpening(payload) {
  const [, sanctuary, citizen, policyHash, strandKey, device, consentEpoch, challenge, tMs, name] =
    fieldsOf(payload, "opening/1", 10);
  const fits =
    [sanctuary, citizen, challenge].every(isId) && [policyHash, strandKey, device].every(isKey) &&
    isCount(consentEpoch) && isCount(tMs) && (name === null || typeof name === "string");
  if (!fits) throw new MessagePackError("not opening/1");
  return { sanctuary, citizen, policyHash, strandKey, device, consentEpoch, challenge, tMs, name };
}

/**
 * @param {Uint8Array} payload
 * @returns {Seal}
 * @throws {MessagePackError}
 */
export function readSeal(payload) {
  const [, strand, window, firstSeq, tEndMs, flags, hashes, previous, total] = fieldsOf(
    payload, "seal/1", 9,
  );
  const fits =
    [strand, previous].every(isKey) && [window, firstSeq, tEndMs].every(isCount) &&
    (flags === 0 || flags === SEAL_CLOSING) && Array.isArray(hashes) &&
    hashes.length <= WINDOW_SAMPLES_MAX && hashes.every(isId) && (total === null || isCount(total));
  if (!fits) throw new MessagePackError("not seal/1");
  return { strand, window, firstSeq, tEndMs, flags, hashes, previous, total };
}

/**
 * @typedef {object} ConsentRecord
 * @property {"grant"|"exception"|"withdrawal"|"approval"} kind
 * @property {Uint8Array} citizen
 * @property {number} counter 1, 2, 3, …
 * @property {Uint8Array} previous 32 bytes
 * @property {number} tMs
 * @property {Uint8Array|null} [sanctuary] nil: any; an approval has none
 */

/**
 * @param {Uint8Array} payload
 * @returns {ConsentRecord & Record<string, unknown>} with the fields of its kind
 * @throws {MessagePackError}
 */
export function readConsent(payload) {
  const [tag, citizen, counter, previous, tMs, where, ...rest] = fieldsOf(
    payload, unpack(payload)?.[0], 8,
  );
  if (tag === "approval/1") {
    const [isApproved, untilMs] = rest;
    return { kind: "approval", citizen, counter, previous, tMs, person: where, isApproved, untilMs };
  }
  const link = { citizen, counter, previous, tMs, sanctuary: where };
  if (tag === "grant/1") {
    const [audience, tier, purpose, untilMs] = rest;
    return { kind: "grant", ...link, audience, tier, purpose, untilMs };
  }
  if (tag === "exception/1") {
    const [person, tier, untilMs] = rest;
    return { kind: "exception", ...link, person, tier, untilMs };
  }
  if (tag === "withdrawal/1") {
    const [audience, purpose] = rest;
    return { kind: "withdrawal", ...link, audience, purpose };
  }
  throw new MessagePackError("no consent record");
}

/**
 * A sanctuary's rules, out of `joined` or `policy`.
 * @param {Uint8Array} payload
 */
export function readPolicy(payload) {
  const [, sanctuary, name, kind, setting, tierMax, capacity, closeLimit, closeBack, isPublic,
    voices, purpose] = fieldsOf(payload, "policy/1", 12);
  return {
    sanctuary, name, kind, setting, tierMax, capacity, closeLimit, closeBack, public: isPublic,
    voices, purpose,
  };
}
