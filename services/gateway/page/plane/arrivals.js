/** What of one's own samples has arrived: the place the city knows, one's own delay, what is late. Pure. */

/** A sample that is not acknowledged for longer is said to be late. */
const LATE_MS = 1000;
/** Seals acknowledge whole windows, which are cut after 1 s: as much later. */
const WINDOW_MS = 1000;
const DELAYS = 20;
/** Samples that are waited for, at most: 25 s of moving. */
const WAITING_MAX = 256;

export class Arrivals {
  /** @type {import("./feeling.js").Feeling|null} what the city last acknowledged */
  acknowledged = null;
  /** @type {Map<number, {feeling: import("./feeling.js").Feeling, atMs: number}>} by number */
  #waiting = new Map();
  #delays = [];
  #isEchoed = false;

  /** @param {number} seq its number in the present strand */
  sent(seq, feeling, nowMs) {
    this.#waiting.set(seq, { feeling, atMs: nowMs });
    if (this.#waiting.size > WAITING_MAX) this.#waiting.delete(this.#waiting.keys().next().value);
  }

  /** The sample came back, as others who see it in full have it. */
  echoed(seq, nowMs) {
    const waited = this.#waiting.get(seq);
    if (waited === undefined) return;
    this.#isEchoed = true;
    this.#delays.push(nowMs - waited.atMs);
    if (this.#delays.length > DELAYS) this.#delays.shift();
    this.#settle(seq);
  }

  /** A seal was taken, and with it these numbers. @param {number[]} admitted */
  sealed(admitted) {
    if (admitted.length > 0) this.#settle(Math.max(...admitted));
  }

  /** These numbers were refused: nothing more will be heard of them. */
  refused(first, last) {
    for (let seq = first; seq <= last && this.#waiting.size > 0; seq += 1) this.#waiting.delete(seq);
  }

  /** Samples arrive in order: what is older was admitted, or refused by name. */
  #settle(seq) {
    for (const [older, { feeling }] of this.#waiting) {
      if (older > seq) break;
      this.#waiting.delete(older);
      this.acknowledged = feeling;
    }
  }

  /** Another strand, or none: numbers begin anew. */
  clear() {
    this.#waiting.clear();
    this.acknowledged = null;
    this.#isEchoed = false;
  }

  /** The median of the last 20 delays; nil before the first: never guessed. */
  get delayMs() {
    if (this.#delays.length === 0) return null;
    const sorted = this.#delays.toSorted((one, other) => one - other);
    return sorted[Math.floor(sorted.length / 2)];
  }

  /** How long the oldest sample waits, once that is too long; nil: all is well. */
  lateMs(nowMs) {
    const oldest = this.#waiting.values().next().value;
    if (oldest === undefined) return null;
    const waitedMs = nowMs - oldest.atMs;
    return waitedMs > LATE_MS + (this.#isEchoed ? 0 : WINDOW_MS) ? waitedMs : null;
  }
}
