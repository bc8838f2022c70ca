/** What one allows and takes back: each press becomes a record, and the desk knows how far it is. A shell. */

import { fromHex } from "../client/bytes.js";
import { Tier } from "../client/records.js";
import { pageNowMs } from "../plane/plane.js";

/** What the desk calls a change for an audience of the room one is in. */
export const audienceKey = (audience) => `audience ${audience}`;
/** And one of who may follow. @param {string} person hexadecimal */
export const followerKey = (person) => `follower ${person}`;
const bytesOf = (sanctuary) => (sanctuary === null ? null : fromHex(sanctuary));

export class Allowing {
  #connection;
  #store;
  #desk;
  #where;
  #onChange;

  /**
   * @param {object} of
   * @param {import("../client/connection.js").Connection} of.connection
   * @param {import("./keys.js").Keystore} of.store
   * @param {import("./desk.js").Desk} of.desk
   * @param {() => Uint8Array} of.where the room one is in
   * @param {() => void} of.onChange
   */
  constructor({ connection, store, desk, where, onChange }) {
    this.#connection = connection;
    this.#store = store;
    this.#desk = desk;
    this.#where = where;
    this.#onChange = onChange;
  }

  get #consent() {
    return this.#connection.session.consent;
  }

  /** Put a change on the desk, paint it, and sign it. */
  async #ask(key, { tier, isNarrowing }, sign) {
    const asked = this.#desk.ask({ key, tier, isNarrowing }, pageNowMs(), this.#consent.epoch);
    this.#onChange();
    asked.counter = await sign();
  }

  /** Let an audience of this room see as much until then. */
  allow({ audience, tier, untilMs, isNarrowing }) {
    const sanctuary = this.#where();
    return this.#ask(audienceKey(audience), { tier, isNarrowing }, () =>
      tier === Tier.WITHHELD
        ? this.#connection.withdraw({ sanctuary, audience })
        : this.#connection.grant({ sanctuary, audience, tier, untilMs }));
  }

  /** The most that one person may see, everywhere; full: as everybody. @param {string} person hexadecimal */
  except(person, { tier, isNarrowing }) {
    return this.#ask(person, { tier, isNarrowing }, () =>
      this.#connection.except({ person: fromHex(person), tier }));
  }

  /** Let one person follow, everywhere, until then; or not any more. @param {string} person hexadecimal */
  approve(person, { isApproved, untilMs = null }) {
    const tier = isApproved ? Tier.FULL : Tier.WITHHELD;
    return this.#ask(followerKey(person), { tier, isNarrowing: !isApproved }, () =>
      isApproved
        ? this.#connection.approve({ person: fromHex(person), untilMs })
        : this.#connection.revoke({ person: fromHex(person) }));
  }

  /** Everything, or all of this room. Painted before this returns. */
  async withdraw({ isAll }) {
    const nowMs = pageNowMs();
    const given = this.#consent.grants(nowMs);
    const withdrawal = this.#desk.withdraw(nowMs, this.#consent.epoch, { isAll });
    this.#onChange(); // struck in the next frame, before any answer
    withdrawal.counter = await this.#connection.withdraw(isAll ? {} : { sanctuary: this.#where() });
    if (isAll && given.length > 0) await this.#store.keep({ withdrawn: given });
  }

  /** One grant, of another room or of all. */
  async withdrawGrant({ sanctuary, audience, purpose }) {
    await this.#connection.withdraw({ sanctuary: bytesOf(sanctuary), audience, purpose });
  }

  /** What was allowed before the last withdrawal and has not ended since. */
  withdrawn(nowMs) {
    return this.#store.kept.withdrawn.filter(({ untilMs }) => untilMs === null || untilMs > nowMs);
  }

  /** The same grants again: each one new, signed by the identity key. */
  async again() {
    const grants = this.withdrawn(pageNowMs());
    await this.#ask("again", { tier: Tier.FULL, isNarrowing: false }, async () => {
      let last = null;
      for (const { sanctuary, ...grant } of grants) {
        last = await this.#connection.grant({ ...grant, sanctuary: bytesOf(sanctuary) });
      }
      return last;
    });
    await this.#store.keep({ withdrawn: [] });
  }
}
