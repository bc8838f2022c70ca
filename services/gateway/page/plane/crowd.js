/** Who is seen of one sanctuary, as the plane draws it and the list tells it. Pure; times are Unix ms. */

import { FADE_MS, Mark } from "./mark.js";
import { Tiles } from "./tiles.js";

/** Without a connection, marks keep their place and after this long lose their fill. */
export const HOLLOW_AFTER_MS = 2000;
/** With reduced motion marks take at most two steps a second. */
export const STILL_STEP_MS = 500;

/** How soon a change has to be drawn: with reduced motion, moves wait for the next step. */
export const Change = Object.freeze({ NONE: 0, MOVED: 1, AT_ONCE: 2 });

/**
 * A row of the list; feelings in thousandths, nil before the first sample.
 * @typedef {object} Person
 * @property {string} citizen hexadecimal
 * @property {string} name "" when they gave none
 * @property {"full"} tier those at `coarse` have no row: `tiles.size` counts them
 * @property {number|null} valence
 * @property {number|null} arousal
 * @property {number[]} labels indices into the vocabulary
 * @property {string|null} note of the last 20 s
 * @property {import("./mark.js").Seal} seal
 * @property {number|null} falseMs since when the seal is false
 * @property {number} sinceMs since when they are seen
 * @property {number} missing how many samples are known to be missing, and why the newest are
 * @property {string|null} missingReason
 * @property {boolean} isHollow their strand or our connection broke off
 */

export class Crowd {
  /** @type {Map<string, Mark>} by citizen; those that fade away are still among them */
  marks = new Map();
  tiles = new Tiles();
  /** Whether everybody sees everybody as granted; nil until told. */
  isClose = null;
  /** One's own newest sample as the city delivered it; nil without a full tier to oneself. */
  echo = null;
  #self;
  #lostMs = null;
  #steppedMs = -Infinity;
  #change = Change.NONE;

  /** @param {{self?: string|null}} [of] self: one's own citizen id, whose mark is not among the others */
  constructor({ self = null } = {}) {
    this.#self = self;
  }

  /** One's own id, once it is known. @param {string|null} citizen hexadecimal */
  setSelf(citizen) {
    this.#self = citizen;
    if (this.marks.delete(citizen)) this.#changed(Change.AT_ONCE);
  }

  /** What there is to draw since the last call, of `Change`. */
  takeChange() {
    const change = this.#change;
    this.#change = Change.NONE;
    return change;
  }

  #changed(change) {
    this.#change = Math.max(this.#change, change);
  }

  /**
   * An event of the viewer; those of other sanctuaries are the caller's to keep away.
   * @param {{type: string} & Record<string, any>} event
   * @param {number} nowMs
   */
  see(event, nowMs) {
    switch (event.type) {
      case "strand": return this.strand(event, nowMs);
      case "sample": return this.sample(event, nowMs);
      case "window": return this.window(event, nowMs);
      case "false opening": return this.window({ ...event, state: "false" }, nowMs);
      case "skipped": return this.skipped(event);
      case "ended": return this.ended(event, nowMs);
      case "coarse": return this.cell(event);
      case "struck": return this.struck(event);
      case "snapshot": return this.snapshot(event);
      case "gap": return this.gap(nowMs);
      case "closeness": return this.closeness(event);
      default: return undefined; // nothing of it is drawn
    }
  }

  strand({ strand, citizen, name, sample }, nowMs) {
    if (citizen === this.#self) return;
    let mark = this.marks.get(citizen);
    if (mark === undefined) {
      mark = new Mark(citizen, name, nowMs);
      this.marks.set(citizen, mark);
    }
    mark.open(strand, name);
    if (sample !== null) mark.take(strand, sample, nowMs);
    this.#changed(Change.AT_ONCE);
  }

  sample({ strand, citizen, sample }, nowMs) {
    if (citizen === this.#self) {
      this.echo = { strand, seq: sample.seq, valence: sample.valence, arousal: sample.arousal, atMs: nowMs };
    } else if (this.marks.get(citizen)?.take(strand, sample, nowMs)) {
      this.#changed(Change.MOVED);
    }
  }

  window(event, nowMs) {
    const { strand, citizen } = event;
    const mark = this.marks.get(citizen);
    if (mark === undefined) return;
    const before = mark.seal(nowMs);
    mark.judge(strand, event, nowMs);
    if (mark.seal(nowMs) !== before) this.#changed(Change.AT_ONCE);
  }

  skipped({ strand, citizen, first, last, reason }) {
    this.marks.get(citizen)?.skip(strand, first, last, reason);
  }

  ended({ strand, citizen, reason }, nowMs) {
    if (citizen === this.#self) this.echo = null;
    const mark = this.marks.get(citizen);
    if (!mark?.has(strand)) return;
    mark.end(strand, reason, nowMs);
    this.#changed(Change.AT_ONCE);
  }

  cell({ pseudonym, cell }) {
    if (this.tiles.put(pseudonym, cell)) this.#changed(Change.MOVED);
  }

  /** Blanked now: the next frame shows nothing of them, and no fade reminds of them. */
  struck({ citizen, pseudonym }) {
    if (citizen !== null && citizen === this.#self) this.echo = null;
    if (citizen !== null) this.marks.delete(citizen);
    if (pseudonym !== null) this.tiles.strike(pseudonym);
    this.#changed(Change.AT_ONCE);
  }

  /** All of a snapshot has come: who is not in it is not to be seen. */
  snapshot({ strands, pseudonyms }) {
    const held = new Set(strands);
    for (const [citizen, mark] of this.marks) if (mark.keep(held)) this.marks.delete(citizen);
    this.tiles.keep(new Set(pseudonyms));
    this.#lostMs = null;
    this.#changed(Change.AT_ONCE);
  }

  /** Something was missed, or the connection is gone: nothing is known until the next snapshot. */
  gap(nowMs) {
    this.#lostMs ??= nowMs;
    this.#changed(Change.AT_ONCE);
  }

  closeness({ close }) {
    this.isClose = close;
  }

  /** Nobody is seen: another sanctuary, or none. */
  clear() {
    this.marks.clear();
    this.tiles.clear();
    this.isClose = this.echo = this.#lostMs = null;
    this.#changed(Change.AT_ONCE);
  }

  /** Whether marks have lost their fill, because nobody knows what became of them. */
  isHollow(nowMs) {
    return this.#lostMs !== null && nowMs - this.#lostMs >= HOLLOW_AFTER_MS;
  }

  /**
   * Bring every drawn place and fade up to now, before drawing.
   * @param {number} nowMs
   * @param {{isStill?: boolean}} [options] reduced motion: steps, no fades
   * @returns {{isMoving: boolean, wakeMs: number|null}} whether the next frame differs; else when the
   *   picture next changes by itself
   */
  advance(nowMs, { isStill = false } = {}) {
    let isMoving = this.tiles.advance(nowMs, isStill);
    let wakeMs = this.#lostMs === null || this.isHollow(nowMs) ? null : this.#lostMs + HOLLOW_AFTER_MS;
    const wake = (atMs) => { wakeMs = Math.min(wakeMs ?? atMs, atMs); };
    const maySteps = !isStill || nowMs - this.#steppedMs >= STILL_STEP_MS || nowMs < this.#steppedMs;
    let isStep = false;
    for (const [citizen, mark] of this.marks) {
      if (mark.isGone(nowMs, isStill ? 0 : FADE_MS)) this.marks.delete(citizen);
      else if (mark.isHeld && mark.leavesMs > nowMs) wake(mark.leavesMs);
      const rimMs = mark.rimChangesMs(nowMs);
      if (rimMs !== null) wake(rimMs);
      if (isStill && maySteps) isStep = mark.step() || isStep;
      else if (isStill && mark.isBehind) wake(this.#steppedMs + STILL_STEP_MS);
      else if (!isStill) isMoving = mark.settle(nowMs) || mark.opacity(nowMs) < 1 || isMoving;
    }
    if (isStep) this.#steppedMs = nowMs;
    return { isMoving, wakeMs };
  }

  /** Rows for the list, by name and then id; made anew, so ask at most once a second. @returns {Person[]} */
  people(nowMs) {
    const isHollow = this.isHollow(nowMs);
    return [...this.marks.values()]
      .filter((mark) => mark.leavesMs === null || mark.leavesMs > nowMs)
      .map((mark) => ({
        citizen: mark.citizen,
        name: mark.name,
        tier: "full",
        valence: mark.valence,
        arousal: mark.arousal,
        labels: mark.labels,
        note: mark.note(nowMs),
        seal: mark.seal(nowMs),
        falseMs: mark.falseMs,
        sinceMs: mark.sinceMs,
        missing: mark.missing,
        missingReason: mark.missingReason,
        isHollow: isHollow || mark.isHeld,
      }))
      .sort((one, other) => compare(one.name, other.name) || compare(one.citizen, other.citizen));
  }
}

function compare(one, other) {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}
