/** The first visit: what this is, keys of one's own, or just watching. */

import { copy } from "../copy.js";
import { button, byId, make } from "../dom.js";
import { seedOf } from "../recovery.js";

/**
 * @param {object} of
 * @param {"ready"|"no webcrypto"|"no ed25519"} of.can what this browser can
 * @param {() => Promise<void>} of.onMake
 * @param {(seed: Uint8Array) => Promise<void>} of.onWords
 * @param {(() => void)|null} of.onWatch nil: there is no public stage
 */
export function drawArrival({ can, onMake, onWords, onWatch }) {
  const enter = button("Make my keys and enter", async () => {
    enter.disabled = true;
    await onMake();
  }, { className: "main" });
  const watch = onWatch === null ? null : button("Just watch", onWatch, { className: "plain" });
  const why = { "no webcrypto": copy.noWebCrypto, "no ed25519": copy.noEd25519 }[can];
  byId("card").replaceChildren(...[
    make("p", { className: "lead" }, copy.firstVisit),
    why === undefined ? enter : make("p", null, why),
    watch,
    why === undefined ? restoring(onWords) : null,
    why === undefined ? make("p", { className: "small" },
      "No name, no address, no password. Your keys are made here and stay in this browser.") : null,
  ].filter((part) => part !== null));
}

/** For those who have words already. */
function restoring(onWords) {
  const wrong = make("p", { className: "wrong", role: "alert" });
  const text = make("textarea", { rows: 3, autocapitalize: "none", autocomplete: "off", spellcheck: false });
  const form = make("form", { className: "ask", hidden: true },
    make("label", { className: "field" }, "Your 24 words, in their order", text),
    wrong,
    make("button", { className: "plain" }, "Bring my keys back"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { WORD_LIST } = await import("../word_list.js");
    try {
      const seed = await seedOf(text.value, WORD_LIST);
      text.value = "";
      await onWords(seed);
    } catch (error) {
      if (error.name !== "WordsError") throw error;
      wrong.textContent = error.message;
    }
  });
  const open = button("I have 24 words", () => {
    form.hidden = !form.hidden;
    open.setAttribute("aria-expanded", String(!form.hidden));
    if (!form.hidden) text.focus();
  }, { className: "text", "aria-expanded": "false" });
  return make("div", null, open, form);
}
