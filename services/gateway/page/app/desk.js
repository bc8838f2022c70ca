/**
 * Consent that was asked for and is on its way: what the page paints before the city has answered.
 *
 * Less is painted at once, more only once it is recorded. Pure; times come in, of a clock that never jumps.
 */

import { Tier } from "../client/records.js";
import { Withdrawal } from "./withdrawal.js";

/** How long an answer stands beside what it answers. */
const TOLD_MS = 20_000;

/**
 * @typedef {object} Asked
 * @property {string} key what it is about: an audience or a person
 * @property {number} tier
 * @property {number} known the counter of the last record when it was asked for
 * @property {number|null} counter once signed
 * @property {boolean} isNarrowing
 * @property {"asked"|"acted"|"recorded"|"refused"} step
 * @property {number} askedMs
 * @property {number|null} afterMs of the last step
 * @property {string|null} reason of a refusal
 */

export class Desk {
  /** The withdrawal of everything, until something is granted again. @type {Withdrawal|null} */
  withdrawal = null;
  /** @type {Map<string, Asked>} by key, the newest of each */
  #asked = new Map();
  #withdrawals = [];

  /** Everything, or (with `isAll` false) one room. @returns {Withdrawal} tell it its counter once signed */
  withdraw(nowMs, known, { isAll = true } = {}) {
    const withdrawal = new Withdrawal(nowMs, known);
    this.#withdrawals.push(withdrawal);
    if (isAll) this.withdrawal = withdrawal;
    return withdrawal;
  }

  /** @returns {Asked} tell it its counter once signed */
  ask({ key, tier, isNarrowing }, nowMs, known) {
    const asked = {
      key, tier, known, counter: null, isNarrowing, step: "asked", askedMs: nowMs, afterMs: null,
      reason: null,
    };
    this.#asked.delete(key);
    this.#asked.set(key, asked);
    return asked;
  }

  /** @param {string} key @returns {Asked|null} what was asked last of it, while it is worth telling */
  about(key, nowMs) {
    const asked = this.#asked.get(key);
    if (asked === undefined) return null;
    const isOver = asked.step === "recorded" || asked.step === "refused";
    return isOver && nowMs - asked.askedMs - asked.afterMs > TOLD_MS ? null : asked;
  }

  /** Where less was asked for and is not recorded yet: key → tier. @returns {Map<string, number>} */
  get narrowed() {
    const open = [...this.#asked.values()].filter(
      ({ isNarrowing, step }) => isNarrowing && (step === "asked" || step === "acted"),
    );
    return new Map(open.map(({ key, tier }) => [key, tier]));
  }

  /** Those that must be watched for being late. */
  get withdrawals() {
    return this.#withdrawals;
  }

  /** The city's `acted`. @returns {Withdrawal[]} those that it is new for */
  acted({ counter }, nowMs) {
    for (const asked of this.#asked.values()) {
      if (asked.isNarrowing && asked.step === "asked" && isOf(asked, counter)) {
        step(asked, "acted", nowMs);
      }
    }
    const told = this.#withdrawals.filter((withdrawal) => withdrawal.acted(counter, nowMs));
    this.#withdrawals = this.#withdrawals.filter((each) => !each.isOver);
    return told;
  }

  /** The client's `recorded`, one for each record. @returns {Withdrawal[]} those that it is new for */
  recorded({ counter, kind, of }, nowMs) {
    for (const asked of this.#asked.values()) {
      if (asked.step !== "recorded" && asked.step !== "refused" && isOf(asked, counter)) {
        step(asked, "recorded", nowMs);
      }
    }
    const told = this.#withdrawals.filter((withdrawal) => withdrawal.recorded(counter, nowMs));
    this.#withdrawals = this.#withdrawals.filter((each) => !each.isOver);
    const isGrant = kind === "grant" && of.tier > Tier.WITHHELD;
    if (isGrant && this.withdrawal?.step === "recorded") this.withdrawal = null;
    return told;
  }

  /** The connection broke off. */
  cut() {
    for (const withdrawal of this.#withdrawals) withdrawal.cut();
  }

  /** The city's chain as it stands. @returns {Withdrawal[]} those that are settled by it */
  found(counter) {
    const told = this.#withdrawals.filter((withdrawal) => withdrawal.found(counter));
    this.#withdrawals = this.#withdrawals.filter((each) => !each.isOver);
    return told;
  }

  /** The city will not have it. */
  refused({ counter, reason }, nowMs) {
    for (const asked of this.#asked.values()) {
      if (asked.step !== "recorded" && isOf(asked, counter)) {
        asked.reason = reason;
        step(asked, "refused", nowMs);
      }
    }
  }
}

/** A record that waits for its chain has no counter yet: what comes behind the last known is it. */
function isOf({ counter, known }, told) {
  return counter === null ? told > known : counter === told;
}

function step(asked, name, nowMs) {
  asked.step = name;
  asked.afterMs = Math.round(nowMs - asked.askedMs);
}
