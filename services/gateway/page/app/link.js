/** The state of the connection in words, and what was missed on this visit. Pure. */

/** A delay is the median of as many answers. */
const DELAYS_MAX = 20;
/** How long "back, …" stands before "live" follows. */
const BACK_MS = 10_000;
/** Gaps remembered of one visit. */
const GAPS_MAX = 50;

/** The middle one; of an even number the lower, so that it is always one that was measured. */
export function median(/** @type {number[]} */ values) {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[(sorted.length - 1) >> 1] ?? null;
}

/**
 * @typedef {object} Gap
 * @property {number} fromMs when the last was received before it
 * @property {number} toMs
 * @property {boolean} isWhole whether nothing was missed
 */

export class Link {
  /** `never` connected, `connecting`, `live`, `lost`, or `closed` for good. */
  state = "never";
  /** @type {Gap[]} of this visit, oldest first */
  gaps = [];
  /** Why the last socket was closed, by name; nil at first. */
  lastClose = null;
  /** What the city writes to this page: `every` message, the `newest` of each, or of the `field` only. */
  rung = "every";
  #delays = [];
  #heardMs = null;
  #lostMs = null;
  #backMs = null;

  /** The client's `state`. */
  changed(state, nowMs) {
    if (state !== "live") this.rung = "every"; // a new socket begins at the top
    if (state === "live") {
      this.state = "live";
    } else if (this.state === "live") {
      this.state = state === "closed" ? "closed" : "lost";
      this.missed(nowMs);
      this.#backMs = null;
    } else if (state === "closed") this.state = "closed";
    else if (this.state === "closed" || this.state === "never") this.state = "connecting";
  }

  closed(reason) {
    this.lastClose = reason;
  }

  /** Something was received, whatever it is. */
  heard(nowMs) {
    this.#heardMs = nowMs;
  }

  /** An answer came after so long. */
  answered(roundTripMs) {
    this.#delays.push(roundTripMs);
    if (this.#delays.length > DELAYS_MAX) this.#delays.shift();
  }

  /** Something was missed: since what was received last, however late that is noticed. */
  missed(nowMs) {
    this.#lostMs ??= this.#heardMs ?? nowMs;
  }

  /**
   * A snapshot came: what was lost is over.
   * @returns {Gap|null} nil: nothing had been lost
   */
  settled({ recovered }, nowMs) {
    if (this.#lostMs === null) return null;
    const gap = { fromMs: this.#lostMs, toMs: nowMs, isWhole: recovered };
    this.gaps.push(gap);
    if (this.gaps.length > GAPS_MAX) this.gaps.shift();
    this.#lostMs = null;
    this.#backMs = nowMs;
    return gap;
  }

  /** Nothing was seen before, so nothing can be missing. */
  begins() {
    this.#lostMs = this.#backMs = null;
  }

  /** @returns {number|null} ms, never guessed */
  get delayMs() {
    return median(this.#delays);
  }

  /** @returns {"live"|"slow"|"back"|"gap"|"lost"|"closed"|"connecting"} for the mark beside the words */
  kind(nowMs) {
    if (this.state === "live" && this.#isBack(nowMs)) return this.gaps.at(-1).isWhole ? "back" : "gap";
    if (this.state === "live" && this.rung !== "every") return "slow";
    return this.state === "never" ? "connecting" : this.state;
  }

  #isBack(nowMs) {
    return this.#backMs !== null && nowMs - this.#backMs < BACK_MS;
  }

  /** @returns {string} */
  words(nowMs) {
    const kind = this.kind(nowMs);
    if (kind === "back") return "back, nothing missed";
    if (kind === "gap") return `back, ${secondsOf(this.gaps.at(-1)).toFixed(1)} s missing`;
    if (kind === "slow") return this.rung === "newest" ? "slow: newest only" : "slow: nobody for now";
    if (kind === "live") return this.delayMs === null ? "live" : `live · ${this.delayMs} ms`;
    return { lost: "reconnecting", closed: "closed", connecting: "connecting" }[kind];
  }
}

/** @param {Gap} gap */
export function secondsOf({ fromMs, toMs }) {
  return Math.max(0.1, (toMs - fromMs) / 1000);
}
