/** One's own voice in one room: what is felt goes out at its pace, and what has arrived is known. A shell. */

import { Arrivals } from "../plane/arrivals.js";
import { Pace } from "../plane/pace.js";
import { pageNowMs } from "../plane/plane.js";

export class Speaking {
  arrivals = new Arrivals();
  /** @type {import("../plane/feeling.js").Feeling|null} where the hand is, sent or not */
  feeling = null;
  /** Chosen words, at most one so far: indices into the vocabulary. */
  labels = [];
  /** Whether "still feeling this?" is to be on the screen. */
  isAsking = false;
  #pace = new Pace();
  #note = null;
  #strand = null;
  #timer = null;
  #say;
  #onStop;

  /**
   * @param {object} of
   * @param {(feeling: import("../client/sample.js").Feeling) => Promise<number|null>} of.say send one
   *   sample; its number, or nil while no strand is open
   * @param {(why: "hidden"|"untouched") => void} of.onStop the pace has ended it
   */
  constructor({ say, onStop }) {
    this.#say = say;
    this.#onStop = onStop;
  }

  get isSpeaking() {
    return this.#pace.isSpeaking;
  }

  begin() {
    this.#pace.speak(pageNowMs());
    this.#turn();
  }

  /** No sample goes out any more. */
  end() {
    this.#pace.hush();
    this.#note = null;
    this.isAsking = false;
    clearTimeout(this.#timer);
  }

  /** Another room: nothing was said there yet. */
  reset() {
    this.end();
    this.arrivals.clear();
    this.feeling = null;
    this.labels = [];
    this.#strand = null;
  }

  move(feeling) {
    this.feeling = feeling;
    this.#pace.move(feeling, pageNowMs());
    this.#turn();
  }

  choose(labels) {
    this.labels = labels;
    this.#pace.change(pageNowMs());
    this.#turn();
  }

  /** With the next sample, and with that one only. */
  note(text) {
    this.#note = text;
    this.#pace.change(pageNowMs());
    this.#turn();
  }

  touch() {
    this.#pace.touch(pageNowMs());
    this.#turn();
  }

  seen(isVisible) {
    if (isVisible) this.#pace.show(pageNowMs());
    else this.#pace.hide(pageNowMs());
    this.#turn();
  }

  #turn() {
    clearTimeout(this.#timer);
    const { send, asks, stops } = this.#pace.take(pageNowMs());
    this.isAsking = asks;
    if (stops !== null) {
      this.end();
      this.#onStop(stops);
      return;
    }
    if (send !== null) this.#send(send);
    const dueMs = this.#pace.nextDeadlineMs();
    if (dueMs === null) return;
    this.#timer = setTimeout(() => this.#turn(), Math.max(0, dueMs - pageNowMs()));
  }

  async #send(feeling) {
    const note = this.#note;
    this.#note = null;
    const atMs = pageNowMs();
    const seq = await this.#say({ ...feeling, labels: this.labels, note });
    if (seq !== null) {
      this.arrivals.sent(seq, feeling, atMs);
      return;
    }
    this.#note ??= note;
    this.#pace.unsent();
  }

  // ── what the city says ────────────────────────────────────────────────────────────────────────

  /** Numbers begin anew with every strand; the same strand goes on after a reconnect. */
  opened(strand) {
    if (strand !== this.#strand) this.arrivals.clear();
    this.#strand = strand;
    this.#turn();
  }

  /** @param {{strand: string, admitted: number[]}} sealed */
  sealed({ strand, admitted }) {
    if (strand === this.#strand) this.arrivals.sealed(admitted);
  }

  refused({ strand, first, last }) {
    if (strand === this.#strand) this.arrivals.refused(first, last);
  }

  echoed({ strand, sample }) {
    if (strand === this.#strand) this.arrivals.echoed(sample.seq, pageNowMs());
  }
}
