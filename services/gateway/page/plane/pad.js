/** How one says what one feels: a hand on the plane, or two sliders with the keyboard. A shell. */

import { feelingAt, inWords, keyed } from "./feeling.js";
import { pageNowMs } from "./plane.js";

/** While a hand moves, the sliders follow no more often than this. */
const SLIDERS_EVERY_MS = 250;
const CENTRE = Object.freeze({ valence: 0, arousal: 0 });

export class Pad {
  #figure;
  #plane;
  #on;
  #fieldset;
  /** @type {{valence: HTMLInputElement, arousal: HTMLInputElement}} */
  #sliders;
  #feeling = null;
  #pointer = null;
  #slidMs = -Infinity;
  #listening = new AbortController();

  /**
   * @param {HTMLElement} figure the plane's, with a fieldset of two sliders: valence, then arousal, −1000 to
   *   1000; they are not to be seen, as their focus is drawn on the plane
   * @param {import("./plane.js").Plane} plane
   * @param {object} on
   * @param {(feeling: import("./feeling.js").Feeling) => void} on.onFeel the hand or a key went there
   * @param {() => void} on.onSpeak Space: speak or pause
   * @param {() => void} on.onWords Enter: the list of words
   */
  constructor(figure, plane, on) {
    this.#figure = figure;
    this.#plane = plane;
    this.#on = on;
    this.#fieldset = figure.querySelector("fieldset");
    const [valence, arousal] = this.#fieldset.querySelectorAll("input[type=range]");
    this.#sliders = { valence, arousal };
    this.#adopt();
    const { signal } = this.#listening;
    const listen = (type, act) => figure.addEventListener(type, (event) => act(event), { signal });
    listen("pointerdown", (event) => this.#press(event));
    listen("pointermove", (event) => this.#drag(event));
    for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) {
      listen(type, (event) => this.#lift(event));
    }
    this.isEnabled = true;
  }

  #adopt() {
    const { signal } = this.#listening;
    for (const [axis, slider] of Object.entries(this.#sliders)) {
      const listen = (type, act) => slider.addEventListener(type, act, { signal });
      listen("input", () => {
        this.#feel({ ...(this.#feeling ?? CENTRE), [axis]: slider.valueAsNumber });
      });
      listen("keydown", (event) => this.#key(event));
      for (const type of ["focus", "blur"]) listen(type, () => this.#focused());
    }
    this.#slide();
  }

  /** Where one is, if something else than the pad says so; nil: nothing was said yet. */
  set feeling(feeling) {
    this.#feeling = feeling;
    this.#plane.you = { feeling };
    this.#slide();
  }

  /** Whether one may say something here; a watcher only looks, and the page scrolls under the hand. */
  set isEnabled(isEnabled) {
    this.#fieldset.disabled = !isEnabled;
    this.#figure.style.touchAction = isEnabled ? "none" : "auto";
    if (isEnabled) return;
    this.#pointer = null;
    this.#plane.you = { hasFocus: false }; // a disabled slider tells of no blur
  }

  get isEnabled() {
    return !this.#fieldset.disabled;
  }

  /** The keyboard goes to the plane. */
  focus() {
    this.#sliders.valence.focus({ preventScroll: true });
  }

  close() {
    this.#listening.abort();
  }

  // ── the hand ──────────────────────────────────────────────────────────────────────────────────

  #press(event) {
    if (!this.isEnabled || !event.isPrimary || event.button !== 0) return;
    event.preventDefault(); // no selection, and no focus but the one below
    this.#pointer = event.pointerId;
    this.#figure.setPointerCapture(event.pointerId);
    this.focus();
    this.#go([event]);
  }

  #drag(event) {
    if (event.pointerId !== this.#pointer) return;
    const events = event.getCoalescedEvents?.() ?? [];
    this.#go(events.length > 0 ? events : [event]);
  }

  #lift(event) {
    if (event.pointerId !== this.#pointer) return;
    this.#pointer = null;
    this.#slide();
  }

  /** All of the way is drawn; only its end is said. */
  #go(events) {
    const { left, top } = this.#figure.getBoundingClientRect();
    const { clientLeft, clientTop } = this.#figure;
    const feelings = events.map(({ clientX, clientY }) =>
      feelingAt(clientX - left - clientLeft, clientY - top - clientTop, this.#plane.size));
    this.#plane.trace(feelings);
    this.#feeling = feelings.at(-1);
    if (pageNowMs() - this.#slidMs >= SLIDERS_EVERY_MS) this.#slide();
    this.#on.onFeel(this.#feeling);
  }

  // ── the keyboard ──────────────────────────────────────────────────────────────────────────────

  #key(event) {
    const feeling = keyed(this.#feeling ?? CENTRE, event);
    if (feeling !== null) this.#feel(feeling);
    else if (event.key === " ") this.#on.onSpeak();
    else if (event.key === "Enter") this.#on.onWords();
    else return;
    event.preventDefault();
  }

  #feel(feeling) {
    this.#feeling = feeling;
    this.#plane.trace([feeling]);
    this.#slide();
    this.#on.onFeel(feeling);
  }

  #focused() {
    const sliders = Object.values(this.#sliders);
    this.#plane.you = { hasFocus: sliders.some((slider) => slider.matches(":focus-visible")) };
  }

  /** Both sliders say the whole sentence, so that one axis is never heard without the other. */
  #slide() {
    const { valence, arousal } = this.#feeling ?? CENTRE;
    const sentence = this.#feeling === null ? "nothing said yet" : inWords(this.#feeling);
    this.#slidMs = pageNowMs();
    this.#sliders.valence.value = String(valence);
    this.#sliders.arousal.value = String(arousal);
    for (const slider of Object.values(this.#sliders)) slider.setAttribute("aria-valuetext", sentence);
  }
}
