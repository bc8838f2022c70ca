/** One affect sample ("signature"): its only form in bytes, its units and bounds. Pure. */

import { pack, unpackCanonical } from "./messagepack.js";

/** The longest body: a note of 140 four-byte code points and every other field at its longest. */
export const BODY_BYTES_MAX = 700;
export const NOTE_CODE_POINTS_MAX = 140;
export const LABELS_MAX = 4;

/** Label index → word: W3C EmotionML's *everyday* vocabulary. */
export const VOCABULARY = Object.freeze([
  "affectionate", "afraid", "amused", "angry", "bored", "confident", "content", "disappointed",
  "excited", "happy", "interested", "loving", "pleased", "relaxed", "sad", "satisfied", "worried",
]);

export const Provenance = Object.freeze({ DECLARED: 0, DERIVED: 1, SCRIPTED: 2 });

/**
 * What somebody feels, before it has a number and a time.
 * @typedef {object} Feeling
 * @property {number} valence thousandths, −1000…1000
 * @property {number} arousal thousandths, −1000…1000
 * @property {number|null} [dominance] thousandths, −1000…1000; nil by default
 * @property {number} [confidence] thousandths, 0…1000; 1000 by default
 * @property {number} [provenance] of `Provenance`; declared by default
 * @property {number[]} [labels] at most 4 indices into `VOCABULARY`, in any order
 * @property {string|null} [note] at most 140 code points; brought to NFC
 */

/**
 * @typedef {object} Sample
 * @property {number} seq 0, 1, 2, … within its strand, < 2³²
 * @property {number} tMs the citizen's wall clock, Unix milliseconds, < 2⁵³
 * @property {number} valence thousandths
 * @property {number} arousal thousandths
 * @property {number|null} dominance thousandths
 * @property {number} confidence thousandths
 * @property {number} provenance
 * @property {number[]} labels ascending, no repeats
 * @property {string|null} note NFC
 * @property {Uint8Array} salt 8 random bytes, so that the body's hash cannot be guessed
 */

/** A sample that breaks the rules; `field` names where. */
export class SampleError extends RangeError {
  name = "SampleError";

  /** @param {string} field */
  constructor(field) {
    super(`out of range: ${field}`);
    this.field = field;
  }
}

const isInteger = (value, least, most) =>
  Number.isSafeInteger(value) && value >= least && value <= most;

/** @param {Sample} sample */
function check(sample) {
  const rules = {
    seq: isInteger(sample.seq, 0, 2 ** 32 - 1),
    tMs: isInteger(sample.tMs, 0, Number.MAX_SAFE_INTEGER),
    valence: isInteger(sample.valence, -1000, 1000),
    arousal: isInteger(sample.arousal, -1000, 1000),
    dominance: sample.dominance === null || isInteger(sample.dominance, -1000, 1000),
    confidence: isInteger(sample.confidence, 0, 1000),
    provenance: isInteger(sample.provenance, 0, 2),
    labels:
      Array.isArray(sample.labels) &&
      sample.labels.length <= LABELS_MAX &&
      sample.labels.every(
        (label, i) =>
          isInteger(label, 0, VOCABULARY.length - 1) && (i === 0 || label > sample.labels[i - 1]),
      ),
    note:
      sample.note === null ||
      (typeof sample.note === "string" &&
        [...sample.note].length <= NOTE_CODE_POINTS_MAX &&
        sample.note.isWellFormed() &&
        sample.note.normalize("NFC") === sample.note),
    salt: sample.salt instanceof Uint8Array && sample.salt.length === 8,
  };
  for (const [field, good] of Object.entries(rules)) if (!good) throw new SampleError(field);
}

/**
 * A feeling's one body.
 * @param {Feeling} feeling
 * @param {{seq: number, tMs: number, salt: Uint8Array}} stamp `salt`: 8 random bytes
 * @returns {Uint8Array} at most `BODY_BYTES_MAX` bytes
 * @throws {SampleError}
 */
export function packBody(feeling, { seq, tMs, salt }) {
  const sample = {
    seq,
    tMs,
    valence: feeling.valence,
    arousal: feeling.arousal,
    dominance: feeling.dominance ?? null,
    confidence: feeling.confidence ?? 1000,
    provenance: feeling.provenance ?? Provenance.DECLARED,
    labels: [...new Set(feeling.labels ?? [])].sort((one, other) => one - other),
    note: feeling.note?.normalize("NFC") ?? null,
    salt,
  };
  check(sample);
  return pack(Object.values(sample));
}

/**
 * @param {Uint8Array} body
 * @returns {Sample}
 * @throws {SampleError|import("./messagepack.js").MessagePackError} unless it is the canonical form
 */
export function readBody(body) {
  if (body.length > BODY_BYTES_MAX) throw new SampleError("body");
  const fields = unpackCanonical(body);
  if (!Array.isArray(fields) || fields.length !== 10) throw new SampleError("body");
  const [seq, tMs, valence, arousal, dominance, confidence, provenance, labels, note, salt] = fields;
  const sample = {
    seq, tMs, valence, arousal, dominance, confidence, provenance, labels, note, salt,
  };
  check(sample);
  return sample;
}

/**
 * @param {number} value −1…1; what lies outside is brought to the edge
 * @returns {number} thousandths
 */
export function thousandths(value) {
  return Math.round(Math.min(1, Math.max(-1, value)) * 1000) + 0; // + 0: no negative zero
}
