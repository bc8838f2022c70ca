/** Under the plane: what one says in words, whether it has arrived, a word for it, a note. */

import { VOCABULARY } from "../../client/sample.js";
import { inWords, wordsNear } from "../../plane/feeling.js";
import { asideOf } from "../asides.js";
import { button, byId, make, rebuild, setText } from "../dom.js";

const EVERY_MS = 250;
/** A note waits so long for "Don't send". */
export const NOTE_WAITS_MS = 3000;
const NEAR = 2;
/** On a phone two words of more letters than this leave no room for the other buttons. */
const LETTERS_MAX = 16;
const phone = matchMedia("(max-width: 699px)");

export class Self {
  #drawnMs = -Infinity;
  #note = null;
  #on;

  /**
   * @param {object} on
   * @param {(labels: number[]) => void} on.onWord
   * @param {(text: string) => void} on.onNote after it has waited
   * @param {() => void} on.onWords every word is wanted
   */
  constructor(on) {
    this.#on = on;
    byId("note").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#write(byId("note-text").value.trim());
    });
    byId("note-close").addEventListener("click", () => this.#showNote(false));
    byId("note").addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.#showNote(false);
    });
  }

  /** @param {import("../visit.js").Visit} visit */
  draw(visit, nowMs, { isNow = false } = {}) {
    if (!isNow && nowMs - this.#drawnMs < EVERY_MS) return;
    this.#drawnMs = nowMs;
    this.#drawTwin(visit, nowMs);
    const { feeling, labels } = visit.speaking;
    const near = feeling === null ? [] : wordsNear(feeling, NEAR);
    const shown = fitting([...new Set([...labels, ...near])].slice(0, NEAR));
    rebuild(byId("words"), JSON.stringify([shown, labels, visit.isSpeaking, this.#note?.text]), () =>
      feeling === null ? [] : this.#chips(shown, labels, visit.isSpeaking));
  }

  #drawTwin(visit, nowMs) {
    const { feeling } = visit.speaking;
    const twin = byId("twin");
    const sentence = feeling === null ? "" : `You: ${inWords(feeling)}.`;
    const aside = asideOf(visit, nowMs);
    rebuild(twin, `${sentence}|${aside}`, () => [sentence, make("small", null, aside)]);
  }

  #chips(shown, labels, isSpeaking) {
    if (this.#note !== null) {
      return [
        make("span", { className: "small" }, "Your note goes out in 3 s."),
        button("Don't send", () => this.#keepNote(), { className: "chip" }),
      ];
    }
    const chips = shown.map((label) => button(VOCABULARY[label], () => {
      this.#on.onWord(labels.includes(label) ? [] : [label]);
    }, { className: "chip", "data-k": String(label), "aria-pressed": String(labels.includes(label)) }));
    return [
      ...chips,
      button("other word", this.#on.onWords, { className: "chip other" }),
      ...(isSpeaking ? [button("note", () => this.#showNote(true), { className: "chip other" })] : []),
    ];
  }

  // ── the note ──────────────────────────────────────────────────────────────────────────────────

  #showNote(isShown) {
    byId("note").hidden = !isShown;
    byId("words").hidden = isShown;
    if (isShown) byId("note-text").focus();
    else byId("words").lastElementChild?.focus();
  }

  #write(text) {
    if (text === "") return;
    const timer = setTimeout(() => {
      this.#note = null;
      byId("note-text").value = "";
      this.#drawnMs = -Infinity;
      this.#on.onNote(text);
    }, NOTE_WAITS_MS);
    this.#note = { text, timer };
    this.#drawnMs = -Infinity;
    this.#showNote(false);
  }

  /** Not sent; it stays in its field. */
  #keepNote() {
    this.drop();
    this.#showNote(true);
  }

  /** What waits is not sent: speaking ended. */
  drop() {
    clearTimeout(this.#note?.timer);
    this.#note = null;
    this.#drawnMs = -Infinity;
  }
}

/** As many of these as have room beside the other buttons. */
function fitting(labels) {
  const letters = labels.reduce((sum, label) => sum + VOCABULARY[label].length, 0);
  return phone.matches && letters > LETTERS_MAX ? labels.slice(0, 1) : labels;
}

/** Every word of the vocabulary, for the sheet. */
export function drawWords(body, { labels, onWord }) {
  rebuild(body, JSON.stringify(labels), () => [
    make("p", { className: "small" }, "One word goes with what you say, until you let go of it."),
    make("div", { className: "row" }, ...VOCABULARY.map((word, label) =>
      button(word, () => onWord(labels.includes(label) ? [] : [label]), {
        className: "chip", "data-k": String(label), "aria-pressed": String(labels.includes(label)),
      }))),
  ]);
}
