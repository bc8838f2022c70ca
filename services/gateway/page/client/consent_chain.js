/** A citizen's consent records: one chain, each record repeated until it is recorded. Time comes in. */

import { equal } from "./bytes.js";
import { ConsentState } from "./consent_state.js";
import { sha256 } from "./ed25519.js";
import {
  packApproval, packException, packGrant, packWithdrawal, readConsent, signRecord, Tier, ZERO_HASH,
} from "./records.js";

/** A record that is not yet recorded is sent again after this long; a repeat is harmless. */
const REPEAT_AFTER_MS = 1000;
const PACK = {
  grant: packGrant, exception: packException, withdrawal: packWithdrawal, approval: packApproval,
};
/** Refusals that say somebody else's record came first: another device of the same citizen. */
const OVERTAKEN = new Set(["broken chain", "stale"]);
/** Refusals after which the record stays good, and is repeated. */
const PASSING = new Set(["not ready", "too fast", "suspended"]);

/**
 * @typedef {object} Pending
 * @property {number} ref
 * @property {"grant"|"exception"|"withdrawal"|"approval"} kind
 * @property {object} of the record's own fields
 * @property {import("./ed25519.js").Signer} signer
 * @property {number} counter
 * @property {import("./records.js").SignedRecord} record
 * @property {number} againMs when to send it (again)
 */

/** Whether a record can only take away: then a device's key is enough. */
export const isEnding = (kind, of) => kind === "withdrawal" || (kind === "approval" && !of.isApproved);

export class ConsentChain extends ConsentState {
  /** The counter and head of what is recorded. */
  counter = 0;
  #head = ZERO_HASH;
  /** Whether the chain was fetched: without it no record can be made. */
  isKnown = false;
  /** Whether every record was seen: a long chain comes page by page, and until then `tier` is a guess. */
  isWhole = false;
  /** Until then, the records that were seen, up to `counter`. */
  #seen = [];
  /** @type {Pending[]} in the order of their counters */
  #pending = [];
  /** Wishes that wait for the chain to be known. */
  #wishes = [];

  city = null;
  citizen = null;

  /** Whose chain it is, and in which city: known with the first welcome. */
  belongsTo({ city, citizen }) {
    if (this.citizen !== null && !equal(this.citizen, citizen)) {
      this.isKnown = this.isWhole = false;
      this.#seen = [];
    }
    this.city = city;
    this.citizen = citizen;
  }

  /**
   * What `samples` carries: the counter of the last record that was signed. One that is not recorded
   * yet counts, so that nothing said after a withdrawal is delivered under what was before it.
   */
  get epoch() {
    return this.#pending.at(-1)?.counter ?? this.counter;
  }

  /** Which page is missing: the one before this counter; nil: none, or nothing is known yet. */
  get before() {
    return this.isWhole || this.#seen.length === 0 ? null : this.#seen[0].counter;
  }

  get isSettled() {
    return this.#pending.length === 0 && this.#wishes.length === 0;
  }

  /**
   * Sign the next record. It is sent by `due`.
   * @param {"grant"|"exception"|"withdrawal"|"approval"} kind
   * @param {object} of its own fields, as in `records.js`
   * @param {{signer: import("./ed25519.js").Signer, ref: number, tMs: number}} by `tMs`: the stamp
   * @returns {Promise<number|null>} its counter; nil while the chain is not known: it is kept till then
   */
  async add(kind, of, { signer, ref, tMs }) {
    if (!this.isKnown) {
      this.#wishes.push({ kind, of, signer, ref });
      return null;
    }
    const last = this.#pending.at(-1);
    const previous = last === undefined ? this.#head : await sha256(last.record[0]);
    const link = { citizen: this.citizen, counter: this.epoch + 1, previous, tMs };
    const record = await signRecord(signer, "consent", this.city, PACK[kind](link, of));
    this.#pending.push({ ref, kind, of, signer, counter: link.counter, record, againMs: 0 });
    return link.counter;
  }

  /** @returns {Pending[]} those to be sent now, oldest first */
  due(nowMs) {
    const due = this.#pending.filter((pending) => pending.againMs <= nowMs);
    for (const pending of due) pending.againMs = nowMs + REPEAT_AFTER_MS;
    return due;
  }

  /** A new socket: everything pending is due at once. */
  reconnected() {
    for (const pending of this.#pending) pending.againMs = 0;
  }

  /** When `due` is wanted next; nil if nothing is pending. */
  get dueMs() {
    return this.#pending.length === 0 ? null : Math.min(...this.#pending.map((p) => p.againMs));
  }

  /**
   * The city's `chain` with the newest records. Links and head are checked; what was wished for before
   * is signed now. Records that another device overtook are made anew if they narrow; what would widen
   * is given back, since the person decided it without knowing of the other.
   * @param {import("./messages.js").ServerMessage} message
   * @param {number} tMs
   * @returns {Promise<{recorded: Pending[], given: Pending[]}>} what is durable by now (its `recorded`
   *   was lost), and what was given up
   * @throws {RangeError} if the chain does not hold together
   */
  async load({ counter, head, records }, tMs) {
    const first = counter - records.length + 1;
    const read = await this.#read(records, first, head);
    const isRecorded = (pending) => {
      const recorded = records[pending.counter - first];
      return recorded !== undefined && equal(recorded[0], pending.record[0]);
    };
    const recorded = this.#pending.filter(isRecorded);
    const left = this.#pending.filter((pending) => !isRecorded(pending));
    const isOvertaken = left.length > 0 && !this.#continues(left[0], counter, head);
    const continues = this.isWhole && this.counter >= first - 1;
    if (continues) {
      for (const record of read.slice(this.counter + 1 - first)) this.#take(record);
    } else {
      this.#applyFrom(read);
    }
    this.counter = counter;
    this.#head = head;
    this.isKnown = true;
    this.#pending = isOvertaken ? [] : left;
    const given = isOvertaken ? left.filter((pending) => !this.#narrows(pending, tMs)) : [];
    const anew = isOvertaken ? left.filter((pending) => !given.includes(pending)) : [];
    for (const { kind, of, signer, ref } of [...anew, ...this.#wishes.splice(0)]) {
      await this.add(kind, of, { signer, ref, tMs });
    }
    return { recorded, given };
  }

  /**
   * The city's answer with the records before those that were seen: it joins on, or nothing changes.
   * @param {import("./messages.js").ServerMessage} message
   * @returns {Promise<boolean>} whether it did
   * @throws {RangeError} if the records do not hold together
   */
  async loadOlder({ records }) {
    const { before } = this;
    if (before === null || records.length === 0) return false;
    const last = readConsent(records.at(-1)[0]).counter;
    if (last !== before - 1) return false; // a repeat
    const read = await this.#read(records, before - records.length, this.#seen[0].previous);
    this.#applyFrom([...read, ...this.#seen]);
    return true;
  }

  /** Records from number `first` on, whose last one hashes to `head`. */
  async #read(records, first, head) {
    let previous = first === 1 ? ZERO_HASH : null;
    const read = [];
    for (const [payload] of records) {
      const record = readConsent(payload);
      const follows = previous === null || equal(record.previous, previous);
      if (!follows || record.counter !== first + read.length || !equal(record.citizen, this.citizen)) {
        throw new RangeError("a broken chain");
      }
      previous = await sha256(payload);
      read.push(record);
    }
    if (first < 1 || !equal(previous ?? new Uint8Array(), head)) {
      throw new RangeError("a broken chain");
    }
    return read;
  }

  /** What is allowed by these records alone: the whole chain, or as much of its end as was seen. */
  #applyFrom(records) {
    this.clear();
    this.isWhole = records.length === 0 || records[0].counter === 1;
    this.#seen = [];
    for (const record of records) this.#take(record);
  }

  #take(record) {
    if (!this.isWhole) this.#seen.push(record);
    this.apply(record);
  }

  /** Whether a pending record follows this head as it stands. */
  #continues(pending, counter, head) {
    return pending.counter === counter + 1 && equal(readConsent(pending.record[0]).previous, head);
  }

  #narrows({ kind, of }, nowMs) {
    if (kind === "approval" || kind === "withdrawal") return isEnding(kind, of);
    if (kind === "exception") return of.tier === Tier.WITHHELD;
    const now = this.ownGrant(of);
    const tier = this.tier({ ...of, nowMs });
    const longer = now?.untilMs != null && (of.untilMs === null || of.untilMs > now.untilMs);
    return of.tier <= tier && !longer;
  }

  /**
   * The city's `recorded`.
   * @returns {Promise<{known: boolean, pending: Pending[]}>} the records that are now durable; `known`
   *   false: the head is not ours, ask for the chain
   */
  async recorded({ counter, head }) {
    const done = this.#pending.filter((pending) => pending.counter <= counter);
    const newest = done.at(-1);
    if (newest === undefined) return { known: counter <= this.counter, pending: [] };
    if (newest.counter === counter && !equal(await sha256(newest.record[0]), head)) {
      return { known: false, pending: [] };
    }
    this.#pending = this.#pending.filter((pending) => pending.counter > counter);
    for (const pending of done) this.#take(readConsent(pending.record[0]));
    this.counter = counter;
    this.#head = head;
    return { known: true, pending: done };
  }

  /**
   * The city's `refused` to one of ours.
   * @param {number} ref
   * @param {string} reason
   * @returns {{pending: Pending, isLost: boolean}|null} nil: none of ours. `isLost`: it was given up,
   *   and what was signed behind it must be made anew: ask for the chain, as after OVERTAKEN
   */
  refused(ref, reason) {
    const pending = this.#pending.find((each) => each.ref === ref);
    if (pending === undefined) return null;
    if (PASSING.has(reason)) return { pending, isLost: false, askChain: false };
    const isLost = !OVERTAKEN.has(reason);
    if (isLost) this.#pending = this.#pending.filter((each) => each !== pending);
    return { pending, isLost, askChain: true };
  }
}
