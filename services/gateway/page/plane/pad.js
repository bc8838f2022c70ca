/** How one says what one feels: a hand on the plane, or two sliders with the keyboard. A shell. */

import { feelingAt, inWords, keyed, MOST } from "./feeling.js";
import { pageNowMs } from "./plane.js";

const STEP = 50;
/** While a hand moves, the sliders follow no more often than this. */
const SLIDERS_EVERY_MS = 250;
const CENTRE = Object.freeze({ valence: 0, arousal: 0 });
const HELP = "Arrow keys move, with Shift further. Page up and down: livelier, calmer. Zero: the middle. "
  + "Space: speak or pause. Enter: words.";
/** Not seen, yet there for the keyboard and for screen readers; its focus is drawn on the plane. */
const UNSEEN = {
  position: "absolute", width: "1px", height: "1px", margin: "-1px", padding: "0", border: "0",
  overflow: "hidden", clipPath: "inset(50%)", whiteSpace: "nowrap",
};

export class Pad {
  #figure;
  #plane;
  #on;
  #fieldset = document.createElement("fieldset");
  #sliders = {};
  #feeling = null;
  #pointer = null;
  #slidMs = -Infinity;
  #listening = new AbortController();

  /**
   * @param {HTMLElement} figure the plane's
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
    this.#build();
    const { signal } = this.#listening;
    const listen = (type, act) => figure.addEventListener(type, (event) => act(event), { signal });
    listen("pointerdown", (event) => this.#press(event));
    listen("pointermove", (event) => this.#drag(event));
    for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) {
      listen(type, (event) => this.#lift(event));
    }
    this.isEnabled = true;
  }

  #build() {
    const legend = document.createElement("legend");
    legend.textContent = "How you feel";
    const help = document.createElement("p");
    help.textContent = HELP;
    help.id = "pad-help";
    this.#fieldset.append(legend, help);
    for (const [axis, text] of [["valence", "Pleasant"], ["arousal", "Lively"]]) {
      const label = document.createElement("label");
      const slider = document.createElement("input");
      Object.assign(slider, { type: "range", min: -MOST, max: MOST, step: STEP, value: 0 });
      slider.setAttribute("aria-describedby", help.id);
      slider.addEventListener("input", () => {
        this.#feel({ ...(this.#feeling ?? CENTRE), [axis]: slider.valueAsNumber });
      });
      slider.addEventListener("keydown", (event) => this.#key(event));
      for (const type of ["focus", "blur"]) slider.addEventListener(type, () => this.#focused());
      label.append(text, slider);
      this.#sliders[axis] = slider;
      this.#fieldset.append(label);
    }
    Object.assign(this.#fieldset.style, UNSEEN);
    this.#figure.append(this.#fieldset);
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
    this.#fieldset.hidden = !isEnabled;
    this.#figure.style.touchAction = isEnabled ? "none" : "auto";
    if (!isEnabled) this.#pointer = null;
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
    this.#fieldset.remove();
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
