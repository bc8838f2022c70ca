/** When what one feels goes out, and when the page falls silent for somebody who is not there. Pure. */

/** While moving at most ten a second, the newest wins. */
const MOVING_MS = 100;
/** At rest one every 2 s, so that a tick of 5 s survives the loss of one. */
const REST_MS = 2000;
/** A move of less than this, thousandths, is none. */
const MOVE_MIN = 10;
/** A page that nobody can see speaks no longer than this. */
export const HIDDEN_MS_MAX = 10_000;
/** Untouched for so long the page asks; and stops so long after it has asked. */
export const UNTOUCHED_MS_MAX = 5 * 60_000;
export const ASKED_MS_MAX = 60_000;

/**
 * What is to be done now.
 * @typedef {object} Turn
 * @property {import("./feeling.js").Feeling|null} send this goes out now
 * @property {boolean} asks whether "still feeling this?" is to be on the screen
 * @property {"hidden"|"untouched"|null} stops speaking ends now, and why
 */

export class Pace {
  #isSpeaking = false;
  #feeling = null;
  #sent = null;
  #sentMs = 0;
  #touchedMs = 0;
  #hiddenMs = null;
  /** Whether something else than the place changed: a word, a note. */
  #isDue = false;
  #hasAsked = false;

  get isSpeaking() {
    return this.#isSpeaking;
  }

  /** From now on what is felt goes out: what was felt before too, if anything. */
  speak(nowMs) {
    this.#isSpeaking = true;
    this.#touchedMs = nowMs;
    this.#sent = null;
  }

  hush() {
    this.#isSpeaking = false;
  }

  /** The hand moved there. @param {import("./feeling.js").Feeling} feeling */
  move(feeling, nowMs) {
    this.#feeling = feeling;
    this.#touchedMs = nowMs;
  }

  /** Another word or note for the same place: it goes out as a move does. */
  change(nowMs) {
    this.#isDue = true;
    this.#touchedMs = nowMs;
  }

  /** Somebody is there: any press or key. */
  touch(nowMs) {
    this.#touchedMs = nowMs;
  }

  hide(nowMs) {
    this.#hiddenMs ??= nowMs;
  }

  show(nowMs) {
    this.#hiddenMs = null;
    this.#touchedMs = nowMs;
  }

  /**
   * @param {number} nowMs
   * @returns {Turn} what is sent counts as sent
   */
  take(nowMs) {
    if (!this.#isSpeaking) return { send: null, asks: false, stops: null };
    const stops = this.#stops(nowMs);
    if (stops !== null) {
      this.#isSpeaking = false;
      return { send: null, asks: false, stops };
    }
    const dueMs = this.#sendMs();
    const isDue = dueMs !== null && dueMs <= nowMs;
    if (isDue) {
      this.#sent = this.#feeling;
      this.#sentMs = nowMs;
      this.#isDue = false;
    }
    this.#hasAsked = nowMs - this.#touchedMs >= UNTOUCHED_MS_MAX;
    return { send: isDue ? this.#feeling : null, asks: this.#hasAsked, stops: null };
  }

  /** What was taken could not be sent: no strand was open. It is due again. */
  unsent() {
    this.#sent = null;
  }

  #stops(nowMs) {
    if (this.#hiddenMs !== null && nowMs - this.#hiddenMs >= HIDDEN_MS_MAX) return "hidden";
    const askedMs = UNTOUCHED_MS_MAX + ASKED_MS_MAX;
    return nowMs - this.#touchedMs >= askedMs ? "untouched" : null;
  }

  #sendMs() {
    if (this.#feeling === null) return null;
    const isMove = this.#sent === null || this.#isDue || far(this.#sent, this.#feeling) >= MOVE_MIN;
    return this.#sentMs + (isMove ? MOVING_MS : REST_MS);
  }

  /** When `take` is wanted next; nil while one does not speak. */
  nextDeadlineMs() {
    if (!this.#isSpeaking) return null;
    const askMs = this.#touchedMs + UNTOUCHED_MS_MAX;
    const stopMs = this.#hiddenMs === null ? Infinity : this.#hiddenMs + HIDDEN_MS_MAX;
    return Math.min(
      this.#sendMs() ?? Infinity, this.#hasAsked ? askMs + ASKED_MS_MAX : askMs, stopMs,
    );
  }
}

function far(one, other) {
  return Math.hypot(one.valence - other.valence, one.arousal - other.arousal);
}
