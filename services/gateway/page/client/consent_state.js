/** What a citizen's consent records add up to. */

import { hex } from "./bytes.js";
import { Audience, Purpose, Tier } from "./records.js";

const scopeOf = (purpose, audience, sanctuary) =>
  `${purpose}/${audience}/${sanctuary === null ? "any" : hex(sanctuary)}`;

export class ConsentState {
  /** @type {Map<string, {tier: number, untilMs: number|null}>} by scope */
  #scopes = new Map();
  /** @type {Map<string, {sanctuary: Uint8Array|null, person: Uint8Array, tier: number, untilMs: number|null}>} */
  exceptions = new Map();
  /** Who may follow, by id in hexadecimal. @type {Map<string, {person: Uint8Array, untilMs: number|null}>} */
  approved = new Map();

  /** Nothing was said yet. */
  clear() {
    this.#scopes.clear();
    this.exceptions.clear();
    this.approved.clear();
  }

  /** The next record of the chain. @param {ReturnType<typeof import("./records.js").readConsent>} record */
  apply(record) {
    if (record.kind === "grant") {
      const { purpose, audience, sanctuary, tier, untilMs } = record;
      this.#scopes.set(scopeOf(purpose, audience, sanctuary), { tier, untilMs });
    } else if (record.kind === "exception") {
      const { sanctuary, person, tier, untilMs } = record;
      const key = `${hex(person)}/${sanctuary === null ? "any" : hex(sanctuary)}`;
      if (tier === Tier.FULL) this.exceptions.delete(key);
      else this.exceptions.set(key, { sanctuary, person, tier, untilMs });
    } else if (record.kind === "approval") {
      const { person, isApproved, untilMs } = record;
      if (isApproved) this.approved.set(hex(person), { person, untilMs });
      else this.approved.delete(hex(person));
    } else this.#withdraw(record);
  }

  #withdraw({ sanctuary, audience, purpose }) {
    const withheld = { tier: Tier.WITHHELD, untilMs: null };
    for (const p of Object.values(Purpose).filter((each) => purpose === null || each === purpose)) {
      for (const a of Object.values(Audience).filter((each) => audience === null || each === audience)) {
        const [start, own] = [`${p}/${a}/`, scopeOf(p, a, sanctuary)];
        if (sanctuary !== null) this.#scopes.set(own, withheld);
        else for (const key of this.#scopes.keys()) if (key.startsWith(start)) this.#scopes.set(key, withheld);
      }
    }
  }

  /**
   * The tier that the recorded grants allow an audience: what "who sees me now" rests on, together
   * with the sanctuary's own most.
   * @param {{sanctuary: Uint8Array|null, audience: number, purpose: number, nowMs: number}} of
   * @returns {number} of `Tier`
   */
  tier({ sanctuary, audience, purpose, nowMs }) {
    const grant = this.grant({ sanctuary, audience, purpose });
    if (grant === null || (grant.untilMs !== null && grant.untilMs <= nowMs)) return Tier.WITHHELD;
    return grant.tier;
  }

  /**
   * The entry that decides for an audience, ended or not: the sanctuary's own, else that for any.
   * @param {{sanctuary: Uint8Array|null, audience: number, purpose: number}} of
   * @returns {{tier: number, untilMs: number|null}|null} nil: nothing was ever said
   */
  grant({ sanctuary, audience, purpose }) {
    return this.ownGrant({ sanctuary, audience, purpose }) ?? this.#scopes.get(scopeOf(purpose, audience, null)) ?? null;
  }

  /** The entry of this very scope: what a grant for any leaves as it is. */
  ownGrant({ sanctuary, audience, purpose }) {
    return this.#scopes.get(scopeOf(purpose, audience, sanctuary));
  }

  /**
   * Every entry that lets somebody see something at this moment.
   * @param {number} nowMs
   * @returns {{purpose: number, audience: number, sanctuary: string|null, tier: number,
   *            untilMs: number|null}[]} sanctuary in hexadecimal; nil: any
   */
  grants(nowMs) {
    return [...this.#scopes]
      .filter(([, { tier, untilMs }]) => tier > Tier.WITHHELD && (untilMs === null || untilMs > nowMs))
      .map(([scope, { tier, untilMs }]) => {
        const [purpose, audience, where] = scope.split("/");
        const sanctuary = where === "any" ? null : where;
        return { purpose: Number(purpose), audience: Number(audience), sanctuary, tier, untilMs };
      });
  }

  /**
   * Whether this person may follow at this moment.
   * @param {Uint8Array} person 16 bytes
   * @param {number} nowMs
   */
  mayFollow(person, nowMs) {
    const approved = this.approved.get(hex(person));
    return approved !== undefined && (approved.untilMs === null || approved.untilMs > nowMs);
  }
}
