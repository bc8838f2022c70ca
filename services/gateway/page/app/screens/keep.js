/** Keeping one's name: 24 words, offered after the first speech and never before it. */

import { copy } from "../copy.js";
import { button, make } from "../dom.js";
import { WORDS_COUNT, wordsOf } from "../recovery.js";

/** Two words are asked for, by their places from 1. */
const ASKED = 2;

/** Two different places, the smaller first. @param {(below: number) => number} below random, 0…below − 1 */
export function places(below) {
  const one = below(WORDS_COUNT);
  const other = (one + 1 + below(WORDS_COUNT - 1)) % WORDS_COUNT;
  return [one, other].sort((a, b) => a - b).slice(0, ASKED);
}

const below = (count) => Math.floor((crypto.getRandomValues(new Uint32Array(1))[0] / 2 ** 32) * count);

/**
 * The card under the plane, or a part of the sheet.
 * @param {HTMLElement} box
 * @param {object} of
 * @param {import("../keys.js").Keystore} of.store with the seed still in it
 * @param {(() => void)|null} of.onLater nil: there is no later, where one asked for it
 * @param {() => void} of.onKept the words are written down, and forgotten here
 */
export function drawKeep(box, { store, onLater, onKept }) {
  const lead = [
    make("h2", onLater === null ? null : { id: "keep-h" }, "Keep your name"), // the card's own name
    make("p", null, "24 words. Whoever has them can become you."),
    store.isPersistent ? null : make("p", null, copy.keysMayBeLost),
  ];
  const later = () => (onLater === null ? "" : button("Later", onLater, { className: "text" }));
  const offer = () => box.replaceChildren(...lead.filter(Boolean),
    make("div", { className: "row" },
      button("Show the words", show, { className: "plain" }),
      button("Save a file", save, { className: "plain" }),
      later()),
    restores());
  const words = async () => {
    const { WORD_LIST } = await import("../word_list.js");
    return wordsOf(store.kept.seed, WORD_LIST);
  };
  const show = async () => {
    const all = await words();
    const wrote = make("input", { type: "checkbox" });
    const question = make("div", null);
    wrote.addEventListener("change", () => {
      question.replaceChildren(...(wrote.checked ? [asking(all, { store, onKept })] : []));
      question.querySelector("input")?.focus();
    });
    box.replaceChildren(...lead.filter(Boolean),
      make("ol", { className: "words24" }, ...all.map((word, i) => make("li", null, make("small", null, `${i + 1}`), word))),
      make("div", { className: "row" },
        make("label", null, wrote, "I wrote them down"),
        button("Save a file", save, { className: "plain" }),
        later()),
      question);
    box.querySelector("input").focus({ preventScroll: true });
  };
  const save = async () => {
    const text = `Synchronia, ${location.host}\n24 words. Whoever has them can become you.\n\n${(await words()).join(" ")}\n`;
    const link = make("a", {
      href: URL.createObjectURL(new Blob([text], { type: "text/plain" })), download: "synchronia-24-words.txt",
    });
    link.click();
    URL.revokeObjectURL(link.href);
  };
  offer();
}

/** What the words can do today, and what they cannot. */
function restores() {
  return make("p", { className: "small" },
    "They bring back your keys, so that you are the same person and all that you allowed stands. " +
    "They cannot yet lock out somebody who copied them.");
}

/** The proof that they are written down: two of them. */
function asking(all, { store, onKept }) {
  const asked = places(below);
  const inputs = asked.map(() => make("input", {
    type: "text", autocapitalize: "none", autocomplete: "off", spellcheck: false,
  }));
  const wrong = make("p", { className: "wrong", role: "alert" });
  const form = make("form", { className: "ask" },
    ...asked.map((place, i) => make("label", { className: "field" }, `Word ${place + 1}`, inputs[i])),
    wrong,
    make("button", { className: "main" }, "These are my words"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const isRight = asked.every((place, i) => inputs[i].value.trim().toLowerCase() === all[place]);
    if (!isRight) {
      wrong.textContent = "That is not what stands there. Look at your paper again.";
      return;
    }
    await store.keep({ seed: null });
    onKept();
  });
  return form;
}
