/** One person seen in full: newest place, trail, what the seals prove. Pure; times are Unix ms. */

import { Trail, TRAIL_MS } from "./trail.js";

/** Others are drawn this late at most, so that two samples join smoothly (brief, section 4). */
export const LATE_MS_MAX = 120;
/** Marks appear and leave within this. */
export const FADE_MS = 240;
/** A mark whose strand broke off waits, hollow, for as long as the city keeps a lost socket's strands. */
export const HOLD_MS = 10_000;

/** What is drawn as the rim; `unsealed`: no seal will come. @typedef {"pending"|"verified"|"incomplete"|"unsealed"|"false"} Seal */

/**
 * How far something that takes `lastsMs` has come. A clock that went back ends it, rather than hold it.
 * @returns {number} 0…1
 */
export function progress(sinceMs, nowMs, lastsMs) {
  const passed = nowMs - sinceMs;
  return passed < 0 || passed >= lastsMs ? 1 : passed / lastsMs;
}

const between = (from, to, part) => from + (to - from) * part;

/** Somebody's text as it is shown: without signs that are not seen or turn the line around; "" for none. */
export function plainText(text) {
  return (text ?? "").replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "").replace(/\s+/gu, " ").trim();
}

export class Mark {
  trail = new Trail();
  /** Newest place, thousandths; nil before the first sample. */
  valence = null;
  arousal = null;
  /** The place that is drawn now, thousandths. */
  shownValence = 0;
  shownArousal = 0;
  /** When the place last changed. */
  movedMs = -Infinity;
  labels = [];
  /** Numbers that are known to be missing, and why the newest of them are. */
  missing = 0;
  missingReason = null;
  /** Since when no seal of this person can be believed. */
  falseMs = null;
  /** From when on the mark fades away; in the future while it is held hollow. */
  leavesMs = null;
  /**
   * Open strands by hexadecimal id: the first number seen, the newest, the newest that is missing.
   * @type {Map<string, {firstSeq: number|null, lastSeq: number|null, missedSeq: number, isFalse: boolean}>}
   */
  #strands = new Map();
  #seal = "pending";
  #incompleteMs = -Infinity;
  #isBroken = false;
  #note = "";
  #noteMs = -Infinity;
  #arrivedMs = -Infinity;
  #slideMs = 0;
  #fromValence = 0;
  #fromArousal = 0;

  /**
   * @param {string} citizen hexadecimal
   * @param {string|null} name
   * @param {number} nowMs
   */
  constructor(citizen, name, nowMs) {
    this.citizen = citizen;
    this.name = plainText(name);
    this.sinceMs = nowMs;
    /** Five to eight petals, always the same for the same person. */
    this.lobes = 5 + (Number.parseInt(citizen.slice(0, 2), 16) % 4);
  }

  get hasPlace() {
    return this.valence !== null;
  }

  get isFalse() {
    return this.falseMs !== null;
  }

  has(strand) {
    return this.#strands.has(strand);
  }

  get strands() {
    return this.#strands.keys();
  }

  /** A strand is there: a new one, or one that a snapshot shows again. */
  open(strand, name) {
    this.leavesMs = null;
    this.name = plainText(name) || this.name;
    if (this.#strands.has(strand)) return;
    this.#isBroken ||= this.hasPlace;
    this.#strands.set(strand, { firstSeq: null, lastSeq: null, missedSeq: -1, isFalse: false });
  }

  /**
   * @param {string} strand
   * @param {import("../client/sample.js").Sample} sample
   * @param {number} nowMs when it arrived
   * @returns {boolean} whether there is anything new to draw
   */
  take(strand, sample, nowMs) {
    const of = this.#strands.get(strand);
    if (of === undefined) return false;
    const { lastSeq } = of;
    if (lastSeq !== null && sample.seq <= lastSeq) return false;
    if (lastSeq !== null && sample.seq > lastSeq + 1) {
      this.#miss(of, lastSeq + 1, sample.seq - 1, null);
    }
    of.firstSeq ??= sample.seq;
    of.lastSeq = sample.seq;
    if (this.isFalse) return false; // what may be another's moves nobody's mark
    const hadTrail = this.trail.from(nowMs) < this.trail.length - 1;
    const isMoved = sample.valence !== this.valence || sample.arousal !== this.arousal;
    if (isMoved || this.#isBroken) this.#moveTo(sample, nowMs);
    this.trail.add(sample.valence, sample.arousal, nowMs, this.#isBroken);
    this.#arrivedMs = nowMs;
    this.#isBroken = false;
    this.labels = sample.labels;
    if (sample.note !== null) [this.#note, this.#noteMs] = [plainText(sample.note), nowMs];
    return isMoved || hadTrail;
  }

  /** From where it is drawn, in no more time than lies between two samples; across a gap at once. */
  #moveTo({ valence, arousal }, nowMs) {
    const isJoined = this.hasPlace && !this.#isBroken;
    const part = progress(this.movedMs, nowMs, this.#slideMs);
    this.#fromValence = isJoined ? between(this.#fromValence, this.valence, part) : valence;
    this.#fromArousal = isJoined ? between(this.#fromArousal, this.arousal, part) : arousal;
    this.#slideMs = isJoined ? Math.min(LATE_MS_MAX, nowMs - this.#arrivedMs) : 0;
    if (!isJoined) [this.shownValence, this.shownArousal] = [valence, arousal];
    this.valence = valence;
    this.arousal = arousal;
    this.movedMs = nowMs;
  }

  /**
   * Bring the drawn place up to now.
   * @returns {boolean} whether it is still under way
   */
  settle(nowMs) {
    if (!this.hasPlace) return false;
    const part = progress(this.movedMs, nowMs, this.#slideMs);
    this.shownValence = between(this.#fromValence, this.valence, part);
    this.shownArousal = between(this.#fromArousal, this.arousal, part);
    return part < 1;
  }

  /** The drawn place is the newest, without a way there. @returns {boolean} whether that is a change */
  step() {
    if (!this.isBehind) return false;
    [this.shownValence, this.shownArousal] = [this.valence, this.arousal];
    return true;
  }

  /** Whether a step is due. */
  get isBehind() {
    return this.hasPlace
      && (this.shownValence !== this.valence || this.shownArousal !== this.arousal);
  }

  skip(strand, first, last, reason) {
    const of = this.#strands.get(strand);
    if (of === undefined || (of.lastSeq !== null && last <= of.lastSeq)) return;
    this.#miss(of, Math.max(first, (of.lastSeq ?? -1) + 1), last, reason);
    of.lastSeq = last;
  }

  #miss(of, first, last, reason) {
    of.missedSeq = last;
    this.missing += last - first + 1;
    this.missingReason = reason;
    this.#isBroken = this.hasPlace;
  }

  /** A note comes with one sample; it is shown as long as that is in the trail. @returns {string|null} */
  note(nowMs) {
    return this.#note !== "" && nowMs - this.#noteMs < TRAIL_MS ? this.#note : null;
  }

  /** What a seal, or the want of one, says of a window. */
  judge(strand, { first, state }, nowMs) {
    const of = this.#strands.get(strand);
    // it began before one was there, and nothing of it was lost: the next window will tell
    if (state === "incomplete" && first < of?.firstSeq && of.missedSeq < first) return;
    if (of !== undefined && state === "false") of.isFalse = true;
    if (state === "false") this.falseMs ??= nowMs;
    else this.#seal = state;
    if (state === "incomplete") this.#incompleteMs = nowMs;
    const isDoubted = [...this.#strands.values()].some(({ isFalse }) => isFalse);
    // only a new strand that proves itself takes the doubt away
    if (state === "verified" && !isDoubted && this.isFalse) {
      this.falseMs = null;
      this.#isBroken = true;
    }
  }

  /** An incomplete window is shown as long as its break is in the trail. @returns {Seal} */
  seal(nowMs) {
    if (this.isFalse) return "false";
    const isRecent = nowMs - this.#incompleteMs < TRAIL_MS;
    return this.#seal === "verified" && isRecent ? "incomplete" : this.#seal;
  }

  /** When the rim next changes by itself; nil: only with another seal. */
  rimChangesMs(nowMs) {
    const atMs = this.#incompleteMs + TRAIL_MS;
    return this.#seal === "verified" && atMs > nowMs ? atMs : null;
  }

  end(strand, reason, nowMs) {
    if (!this.#strands.delete(strand) || this.#strands.size > 0) return;
    const isOver = reason === "closed" || reason === "left";
    this.leavesMs = isOver ? nowMs : nowMs + HOLD_MS;
  }

  /** Take away strands that a snapshot no longer shows. @returns {boolean} whether none is left */
  keep(strands) {
    for (const strand of this.#strands.keys()) if (!strands.has(strand)) this.#strands.delete(strand);
    return this.#strands.size === 0;
  }

  get isHeld() {
    return this.leavesMs !== null;
  }

  isGone(nowMs, fadeMs) {
    return this.leavesMs !== null && nowMs - this.leavesMs >= fadeMs;
  }

  /** @returns {number} 0…1, for appearing and leaving */
  opacity(nowMs) {
    if (this.leavesMs !== null && nowMs >= this.leavesMs) {
      return 1 - progress(this.leavesMs, nowMs, FADE_MS);
    }
    return progress(this.sinceMs, nowMs, FADE_MS);
  }
}
