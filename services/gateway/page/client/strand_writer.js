/** A strand as its citizen writes it: numbers, windows, the chain of seals. Time and salts come in. */

import { equal } from "./bytes.js";
import { bodyHash, sha256 } from "./ed25519.js";
import {
  packSeal, SEAL_CLOSING, signRecord, WINDOW_MS_MAX, WINDOW_SAMPLES_MAX, ZERO_HASH,
} from "./records.js";
import { packBody } from "./sample.js";

/**
 * @typedef {object} Window
 * @property {number} window 0, 1, 2, …
 * @property {Uint8Array[]} bodies
 * @property {number} firstSeq
 * @property {boolean} closing
 * @property {Promise<import("./records.js").SignedRecord>} sealed the signed seal
 */

export class StrandWriter {
  /** The number of the next sample. */
  nextSeq = 0;
  /** Whether the city has said `opened` on the present socket. */
  isOpen = false;
  #nextWindow = 0;
  /** @type {Uint8Array[]} of the window that is being filled */
  #bodies = [];
  #firstMs = null;
  /** @type {Window[]} cut and not yet acknowledged, oldest first */
  #kept = [];
  #isClosing = false;
  /** The hash of the last seal's payload; a promise, as each seal waits for the one before. */
  #previous = Promise.resolve(ZERO_HASH);

  /**
   * @param {object} of
   * @param {Uint8Array} of.sanctuary 16 bytes
   * @param {Uint8Array} of.city 32 bytes
   * @param {Uint8Array} of.challenge 16 bytes, the one in the opening
   * @param {import("./records.js").SignedRecord} of.opening
   * @param {Uint8Array} of.strand 32 bytes: the SHA-256 of the opening's payload
   * @param {import("./ed25519.js").Signer} of.signer the strand's own key
   */
  constructor({ sanctuary, city, challenge, opening, strand, signer }) {
    Object.assign(this, { sanctuary, city, challenge, opening, strand, signer });
  }

  /** Whether the closing seal was made: no number follows. */
  get isClosing() {
    return this.#isClosing;
  }

  /** When the window must be cut: Unix ms of the clock that stamps samples; nil while it is empty. */
  get dueMs() {
    return this.#firstMs === null ? null : this.#firstMs + WINDOW_MS_MAX;
  }

  /** @param {number} tMs */
  isDue(tMs) {
    return this.#firstMs !== null && (tMs >= this.dueMs || this.isFull);
  }

  get isFull() {
    return this.#bodies.length >= WINDOW_SAMPLES_MAX;
  }

  /**
   * The next number's body. Cut the window when it is due, before the next.
   * @param {import("./sample.js").Feeling} feeling
   * @param {number} tMs the citizen's clock, Unix ms
   * @param {Uint8Array} salt 8 random bytes
   * @returns {Uint8Array}
   */
  add(feeling, tMs, salt) {
    if (this.#isClosing || this.isFull) throw new RangeError("cut the window first");
    const body = packBody(feeling, { seq: this.nextSeq, tMs, salt });
    this.nextSeq += 1;
    this.#firstMs ??= tMs;
    this.#bodies.push(body);
    return body;
  }

  /**
   * Cut the window now and seal it; nil if there is nothing to seal.
   * @param {number} tMs Unix ms
   * @param {{closing?: boolean}} [options] closing: the strand's last seal, which may have no samples
   * @returns {Window|null}
   */
  cut(tMs, { closing = false } = {}) {
    if (this.#isClosing || (!closing && this.#bodies.length === 0)) return null;
    const bodies = this.#bodies;
    const window = {
      window: this.#nextWindow,
      firstSeq: this.nextSeq - bodies.length,
      bodies,
      closing,
    };
    this.#nextWindow += 1;
    this.#bodies = [];
    this.#firstMs = null;
    this.#isClosing = closing;
    window.sealed = this.#seal(window, tMs, this.#previous);
    this.#previous = window.sealed.then(([payload]) => sha256(payload));
    this.#kept.push(window);
    return window;
  }

  async #seal({ window, firstSeq, bodies, closing }, tEndMs, previous) {
    const payload = packSeal({
      strand: this.strand,
      window,
      firstSeq,
      tEndMs,
      flags: closing ? SEAL_CLOSING : 0,
      hashes: await Promise.all(bodies.map(bodyHash)),
      previous: await previous,
      total: closing ? firstSeq + bodies.length : null,
    });
    return signRecord(this.signer, "seal", this.city, payload);
  }

  /**
   * The city took a window's seal, and so every one before it.
   * @param {number} window
   * @returns {boolean} whether that was the closing one
   */
  acknowledge(window) {
    const closed = this.#kept.some((kept) => kept.closing && kept.window <= window);
    this.#kept = this.#kept.filter((kept) => kept.window > window);
    return closed;
  }

  /**
   * What the city asks for with `seal?`: a kept window, or the one being filled, cut now.
   * @param {number} window
   * @param {number} tMs
   * @returns {Window|null} nil if it was acknowledged long ago or never was
   */
  wanted(window, tMs) {
    const kept = this.#kept.find((each) => each.window === window);
    return kept ?? (window === this.#nextWindow ? this.cut(tMs) : null);
  }

  /**
   * After a reconnect: what the city has not got, in the order in which it was made.
   * @param {number} nextSeq as `opened` says
   * @param {number} nextWindow as `opened` says
   * @returns {{bodies: Uint8Array[], window: Window|null}[]} bodies, then their seal unless still open
   */
  missing(nextSeq, nextWindow) {
    this.#kept = this.#kept.filter((kept) => kept.window >= nextWindow);
    const open = { firstSeq: this.nextSeq - this.#bodies.length, bodies: this.#bodies };
    return [...this.#kept, open].map((part) => ({
      bodies: part.bodies.slice(Math.max(0, nextSeq - part.firstSeq)),
      window: part === open ? null : part,
    }));
  }

  /** @param {Uint8Array} strand */
  is(strand) {
    return equal(this.strand, strand);
  }
}
