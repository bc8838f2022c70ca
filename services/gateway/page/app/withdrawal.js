/** One withdrawal on its way: asked, acted, recorded, each with its ms. Pure. */

/** The city promises to act within this; then the page says that it is late. */
export const ACTED_WITHIN_MS = 1000;
/** After acting, the log may take as long before the page says so. */
export const RECORDED_WITHIN_MS = 3000;

export class Withdrawal {
  actedAfterMs = null;
  recordedAfterMs = null;
  /** Known once the record is signed; nil while the chain is not known. */
  counter = null;
  #isCut = false;
  #isFound = false;

  /**
   * @param {number} askedMs of a clock that never jumps
   * @param {number} known the counter of the last record before it
   */
  constructor(askedMs, known) {
    this.askedMs = askedMs;
    this.known = known;
  }

  /**
   * How far it is. `recorded` may be told before `acted` and counts only behind it: what is written down
   * and not yet carried out is no withdrawal.
   * @returns {"asked"|"acted"|"recorded"}
   */
  get step() {
    if (this.#isFound) return "recorded";
    if (this.actedAfterMs === null) return "asked";
    return this.recordedAfterMs === null ? "acted" : "recorded";
  }

  #isMine(counter) {
    return this.counter === null ? counter > this.known : counter >= this.counter;
  }

  /** No byte goes out any more. @returns {boolean} whether that was new */
  acted(counter, nowMs) {
    if (this.actedAfterMs !== null || !this.#isMine(counter)) return false;
    this.actedAfterMs = Math.round(nowMs - this.askedMs);
    return true;
  }

  /** It is durable. @returns {boolean} whether that was new */
  recorded(counter, nowMs) {
    if (this.recordedAfterMs !== null || !this.#isMine(counter)) return false;
    this.recordedAfterMs = Math.round(nowMs - this.askedMs);
    return true;
  }

  /** The connection broke off: an `acted` that was on its way will not come any more. */
  cut() {
    this.#isCut = true;
  }

  /**
   * The city's chain holds records up to this one. Behind a connection that broke off that is all that
   * will be heard of it: it is durable, and every part of the city goes by what is durable.
   * @returns {boolean} whether that was new
   */
  found(counter) {
    const isFound = this.#isCut && !this.#isFound && this.counter !== null && counter >= this.counter;
    this.#isFound ||= isFound;
    return isFound;
  }

  /** Acted and recorded, in either order: which comes first is not promised. */
  get isOver() {
    return this.step === "recorded";
  }

  /** Not acted in time. */
  isLate(nowMs) {
    return this.step === "asked" && nowMs - this.askedMs >= ACTED_WITHIN_MS;
  }

  /** Acted, and not written down in time. */
  isUnwritten(nowMs) {
    if (this.step !== "acted") return false;
    return nowMs - this.askedMs >= this.actedAfterMs + RECORDED_WITHIN_MS;
  }

  /** "acted 38 ms, recorded 61 ms", as far as it got. */
  get times() {
    const acted = this.actedAfterMs === null ? "" : `acted ${this.actedAfterMs} ms`;
    const recorded = this.recordedAfterMs === null ? "" : `recorded ${this.recordedAfterMs} ms`;
    return [acted, recorded].filter(Boolean).join(", ");
  }
}
