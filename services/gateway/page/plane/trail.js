/** Where somebody's mark has been: a ring of at most 40 points. Pure, and without garbage. */

/** How far back a trail reaches (brief: the last 20 s). */
export const TRAIL_MS = 20_000;
export const TRAIL_POINTS_MAX = 40;
/** Points closer in time than this are one point, so that 40 of them last 20 s at any rate. */
const STEP_MS = TRAIL_MS / TRAIL_POINTS_MAX;

export class Trail {
  /** How many points there are; point 0 is the oldest. */
  length = 0;
  #first = 0;
  #valence = new Int16Array(TRAIL_POINTS_MAX);
  #arousal = new Int16Array(TRAIL_POINTS_MAX);
  #atMs = new Float64Array(TRAIL_POINTS_MAX);
  #isBroken = new Uint8Array(TRAIL_POINTS_MAX);

  #slot(i) {
    return (this.#first + i) % TRAIL_POINTS_MAX;
  }

  /** @returns {number} thousandths */
  valence(i) {
    return this.#valence[this.#slot(i)];
  }

  /** @returns {number} thousandths */
  arousal(i) {
    return this.#arousal[this.#slot(i)];
  }

  atMs(i) {
    return this.#atMs[this.#slot(i)];
  }

  /** Whether something is missing between this point and the one before: nothing is drawn there. */
  isBroken(i) {
    return this.#isBroken[this.#slot(i)] === 1;
  }

  /**
   * The newest point moves along until it is STEP_MS from the one before it; then another begins. Rest
   * adds no points: it is where the trail ends.
   * @param {number} valence thousandths
   * @param {number} arousal thousandths
   * @param {number} atMs not before the newest
   * @param {boolean} isBroken whether something is missing before this point
   */
  add(valence, arousal, atMs, isBroken) {
    if (isBroken || !(this.#isRest(valence, arousal) || this.#canMoveNewest())) {
      if (this.length < TRAIL_POINTS_MAX) this.length += 1;
      else this.#first = (this.#first + 1) % TRAIL_POINTS_MAX;
      this.#isBroken[this.#slot(this.length - 1)] = isBroken && this.length > 1 ? 1 : 0;
    }
    const slot = this.#slot(this.length - 1);
    this.#valence[slot] = valence;
    this.#arousal[slot] = arousal;
    this.#atMs[slot] = atMs;
  }

  #isRest(valence, arousal) {
    const newest = this.length - 1;
    return newest >= 0 && this.valence(newest) === valence && this.arousal(newest) === arousal;
  }

  #canMoveNewest() {
    const newest = this.length - 1;
    if (newest < 1 || this.isBroken(newest)) return false;
    return this.atMs(newest) - this.atMs(newest - 1) < STEP_MS;
  }

  /** The first point that is young enough, and within the newest `points`. */
  from(nowMs, points = TRAIL_POINTS_MAX) {
    let i = Math.max(0, this.length - points);
    while (i < this.length && nowMs - this.atMs(i) > TRAIL_MS) i += 1;
    return i;
  }

  clear() {
    this.length = 0;
    this.#first = 0;
  }
}
