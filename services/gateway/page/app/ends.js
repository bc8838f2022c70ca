/** Grants that end: said before, and once they have. Pure. */

import { nextEnd } from "./mirrors.js";

/** From so long before its end a grant is said to end soon. */
export const SOON_MS = 5 * 60_000;

/** @typedef {{audience: number, untilMs: number}} End */

export class Ends {
  /** What was said to end soon. @type {End|null} */
  #told = null;

  /** Another room. */
  clear() {
    this.#told = null;
  }

  /**
   * @param {import("./mirrors.js").Mirror[]} mirrors
   * @param {number} nowMs
   * @param {{isWithdrawn: boolean}} of a withdrawal is no end of time
   * @returns {{soon: End|null, ended: End|null}} `ended` is told once
   */
  look(mirrors, nowMs, { isWithdrawn }) {
    const next = nextEnd(mirrors);
    const soon = next !== null && next.untilMs - nowMs <= SOON_MS ? next : null;
    const isOver = this.#told !== null && this.#told.untilMs <= nowMs;
    const ended = isOver && !isWithdrawn ? this.#told : null;
    if (soon !== null) this.#told = soon;
    else if (isOver) this.#told = null;
    return { soon, ended };
  }
}
