/** A strand as a viewer sees it at `full`: what it holds, what was skipped, what its seals prove. */

import { equal } from "./bytes.js";
import { bodyHash, sha256 } from "./ed25519.js";
import { readSeal, SEAL_CLOSING, verifyRecord, ZERO_HASH } from "./records.js";

/** Numbers held without a seal: the city ends a strand 2 s after a seal was due, at 128 samples/s. */
const UNSEALED_MAX = 1024;
/** Judged windows remembered a strand: two minutes at one a second. */
const WINDOWS_MAX = 128;

/**
 * *verified*: the seal is good and every number of it held; *incomplete*: the seal is good, some
 * numbers are not held; *unsealed*: no seal will come; *false*: a signature or a hash does not fit.
 * @typedef {"pending"|"verified"|"incomplete"|"unsealed"|"false"} WindowState
 */

/**
 * A seal to be judged, with the bodies held when it came.
 * @typedef {object} Check
 * @property {StrandView} strand
 * @property {import("./records.js").SignedRecord} record
 * @property {import("./records.js").Seal|null} seal nil: not readable
 * @property {(Uint8Array|null)[]} held of each of its numbers, nil where not held
 * @property {boolean} known whether it is a snapshot's newest seal, which stands for those before
 */

/**
 * The part of a judgement that needs no memory: signature and hashes.
 * @param {Check} check
 * @param {Uint8Array} city 32 bytes
 * @returns {Promise<{fits: boolean, hash: Uint8Array}>} `hash`: SHA-256 of the seal's payload
 */
export async function judgeSeal({ strand, record, seal, held }, city) {
  const hash = await sha256(record[0]);
  if (seal === null || !equal(seal.strand, strand.id)) return { fits: false, hash };
  const signed = await verifyRecord(strand.opening.strandKey, "seal", city, record);
  const hashes = await Promise.all(
    held.map(async (body, i) => body === null || equal(await bodyHash(body), seal.hashes[i])),
  );
  return { fits: signed && hashes.every(Boolean), hash };
}

export class StrandView {
  /** Numbers delivered and skipped since `since`; with the gaps they make up all that was sent. */
  delivered = 0;
  skipped = 0;
  /** Numbers that neither came nor were announced as skipped, as [first, last]. */
  gaps = [];
  /** Whether any window, or the opening, was false. */
  isFalse = false;
  /** @type {{reason: string, total: number|null, atMs: number}|null} */
  ended = null;
  isReleased = false;
  /** @type {Map<number, {first: number, last: number, state: WindowState}>} by window */
  windows = new Map();
  /** @type {Map<number, Uint8Array>} bodies held and not yet under a seal, by number */
  #held = new Map();
  #nextWindow = 0;
  #sealedTo = 0;
  #previous = ZERO_HASH;

  /**
   * @param {import("./messages.js").ServerMessage} message `strand`
   * @param {import("./records.js").Opening} opening
   */
  constructor(message, opening) {
    this.id = message.strand;
    this.sanctuary = message.sanctuary;
    this.citizen = message.citizen;
    this.opening = opening;
    this.since = message.nextSeq;
    this.nextSeq = message.nextSeq;
    this.unsealedFrom = message.unsealedFrom;
  }

  /** The newest body of a snapshot, whose number lies before `since`. */
  hold(seq, body) {
    this.#held.set(seq, body);
  }

  /**
   * @param {number} seq
   * @param {Uint8Array} body
   * @returns {boolean} false: it was held already, or skipped
   */
  take(seq, body) {
    if (seq < this.nextSeq && !this.#fill(seq, seq)) return false;
    this.#reach(seq);
    this.delivered += 1;
    this.#held.set(seq, body);
    if (this.#held.size > UNSEALED_MAX) this.#held.delete(this.#held.keys().next().value);
    return true;
  }

  /** Numbers `first`…`last` will not come. */
  skip(first, last) {
    this.skipped += this.#fill(first, last);
    if (last < this.nextSeq) return;
    this.skipped += last - Math.max(first, this.nextSeq) + 1;
    this.#reach(first);
    this.nextSeq = last + 1;
  }

  /** Make `seq` the newest number; what lies between is a gap. */
  #reach(seq) {
    if (seq > this.nextSeq) this.gaps.push([this.nextSeq, seq - 1]);
    this.nextSeq = Math.max(this.nextSeq, seq + 1);
  }

  /** Take `first`…`last` out of the gaps; how many numbers that were. */
  #fill(first, last) {
    let filled = 0;
    this.gaps = this.gaps.flatMap(([from, to]) => {
      const [low, high] = [Math.max(from, first), Math.min(to, last)];
      if (low > high) return [[from, to]];
      filled += high - low + 1;
      return [[from, low - 1], [high + 1, to]].filter(([a, b]) => a <= b);
    });
    return filled;
  }

  /** Whether delivered + skipped = sent, up to the closing seal's total; nil while that is unknown. */
  get isAccounted() {
    const total = this.ended?.total ?? null;
    if (total === null) return null;
    return this.gaps.length === 0 && this.since + this.delivered + this.skipped === total;
  }

  /** What the signature of numbers from here on rests on. @param {number} seq @returns {WindowState} */
  stateOf(seq) {
    if (this.unsealedFrom !== null && seq >= this.unsealedFrom) return "unsealed";
    for (const { first, last, state } of this.windows.values()) {
      if (seq >= first && seq <= last) return state;
    }
    return "pending";
  }

  /**
   * @param {import("./records.js").SignedRecord} record
   * @param {{known?: boolean}} [options]
   * @returns {Check}
   */
  check(record, { known = false } = {}) {
    let seal = null;
    try {
      seal = readSeal(record[0]);
    } catch {
      // unreadable: judged false, which is all that is to be said of it
    }
    const held = seal?.hashes.map((_, i) => this.#held.get(seal.firstSeq + i) ?? null) ?? [];
    return { strand: this, record, seal, held, known };
  }

  /**
   * The rest of a judgement: the place in the chain of seals. In the order in which seals came.
   * @param {Check} check
   * @param {{fits: boolean, hash: Uint8Array}} judgement
   * @returns {{window: number, first: number, last: number, state: WindowState}|null} nil: nothing new
   */
  settle({ seal, held, known }, { fits, hash }) {
    const window = seal?.window ?? this.#nextWindow;
    // the same again; or a snapshot's, which is the newest and so no second word on an older window
    if (window < this.#nextWindow && (known || equal(hash, this.#previous))) return null;
    if (!fits || !this.#follows(seal)) return this.#judge(seal, "false");
    this.#nextWindow = window + 1;
    this.#sealedTo = seal.firstSeq + seal.hashes.length;
    this.#previous = hash;
    for (const seq of this.#held.keys()) if (seq < this.#sealedTo) this.#held.delete(seq);
    if (held.every((body) => body === null)) return null; // nothing held rests on it
    return this.#judge(seal, held.includes(null) ? "incomplete" : "verified");
  }

  /** Whether a seal fits those before it; one that was missed leaves only its number to go by. */
  #follows(seal) {
    const end = seal.firstSeq + seal.hashes.length;
    const closes = (seal.flags & SEAL_CLOSING) !== 0;
    if (closes ? seal.total !== end : seal.total !== null || seal.hashes.length === 0) return false;
    if (seal.window < this.#nextWindow || seal.firstSeq < this.#sealedTo) return false;
    if (seal.window > this.#nextWindow) return true;
    return seal.firstSeq === this.#sealedTo && equal(seal.previous, this.#previous);
  }

  #judge(seal, state) {
    const first = seal?.firstSeq ?? this.#sealedTo;
    const last = seal === null ? this.nextSeq - 1 : first + seal.hashes.length - 1;
    const judged = { window: seal?.window ?? this.#nextWindow, first, last, state };
    if (state === "false") this.isFalse = true;
    this.windows.set(judged.window, judged);
    if (this.windows.size > WINDOWS_MAX) this.windows.delete(this.windows.keys().next().value);
    return judged;
  }

  /**
   * The strand has ended and every seal was judged: what is still pending stays without a seal.
   * @returns {{window: number, first: number, last: number, state: WindowState}|null}
   */
  finish() {
    const pending = [...this.#held.keys()].filter((seq) => this.stateOf(seq) === "pending");
    const from = this.unsealedFrom ?? (pending.length > 0 ? Math.min(...pending) : null);
    if (from === null || from >= this.nextSeq) return null;
    this.unsealedFrom = from;
    return { window: this.#nextWindow, first: from, last: this.nextSeq - 1, state: "unsealed" };
  }

  /**
   * A later snapshot's word on the same strand: what lies between was missed.
   * @param {import("./messages.js").ServerMessage} message `strand`
   * @returns {number} how many numbers were missed
   */
  rejoin({ nextSeq, unsealedFrom }) {
    const missed = Math.max(0, nextSeq - this.nextSeq);
    if (missed > 0) {
      this.gaps = [];
      this.delivered = this.skipped = 0;
      this.since = this.nextSeq = nextSeq;
    }
    this.unsealedFrom = unsealedFrom;
    return missed;
  }
}
