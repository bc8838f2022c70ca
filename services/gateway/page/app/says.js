/** What a screen reader is told, and how often: at most one sentence in five seconds. Pure. */

/** The choices of "how often": ms between two sentences; nil for never. */
export const EVERY_MS = Object.freeze([5000, 15_000, 60_000, null]);

/** One sentence waits for each topic, the newest; topics go in the order in which they asked. */
export class Says {
  everyMs = EVERY_MS[0];
  /** @type {Map<string, string>} */
  #waiting = new Map();
  #answer = null;
  #lastMs = -Infinity;

  /**
   * @param {string} topic
   * @param {string} sentence replaces what waits for the same topic
   */
  say(topic, sentence) {
    this.#waiting.set(topic, sentence);
  }

  /** What somebody asked for: said next and at once, even to one who wants to hear nothing else. */
  answer(sentence) {
    this.#answer = sentence;
  }

  /**
   * @param {number} nowMs
   * @returns {string|null} the sentence to be said now
   */
  take(nowMs) {
    if (this.everyMs === null) this.#waiting.clear();
    const sentence = this.#answer ?? (nowMs - this.#lastMs >= this.everyMs ? this.#next() : null);
    this.#answer = null;
    if (sentence !== null) this.#lastMs = nowMs;
    return sentence;
  }

  #next() {
    for (const [topic, sentence] of this.#waiting) {
      this.#waiting.delete(topic);
      return sentence;
    }
    return null;
  }
}
