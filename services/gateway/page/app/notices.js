/** One notice at a time: the weightiest of those that hold. Pure. */

/** Topics from the weightiest; what is not listed is not shown. */
export const TOPICS = Object.freeze([
  "withdrawal late", "refused", "false seal", "no connection", "two tiers", "still there", "ended",
  "ends soon", "closeness", "slow", "recorded late", "back", "stopped", "missing", "work or school",
  "restored", "empty",
]);

/**
 * @typedef {object} Notice
 * @property {string} text
 * @property {string[]} [actions] names of buttons, as `main.js` carries them out
 * @property {number|null} [untilMs] when it goes by itself; nil: when it is dropped
 */

export class Notices {
  /** @type {Map<string, Notice>} */
  #held = new Map();

  /** @param {string} topic one of `TOPICS` */
  put(topic, text, { actions = [], untilMs = null } = {}) {
    if (!TOPICS.includes(topic)) throw new RangeError(`no such topic: ${topic}`);
    this.#held.set(topic, { text, actions, untilMs });
  }

  drop(topic) {
    this.#held.delete(topic);
  }

  clear() {
    this.#held.clear();
  }

  /**
   * @param {number} nowMs
   * @returns {(Notice & {topic: string})|null}
   */
  current(nowMs) {
    for (const [topic, { untilMs }] of this.#held) {
      if (untilMs !== null && untilMs <= nowMs) this.#held.delete(topic);
    }
    const topic = TOPICS.find((each) => this.#held.has(each));
    return topic === undefined ? null : { topic, ...this.#held.get(topic) };
  }
}
