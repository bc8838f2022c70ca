/** Your keys: what this browser keeps, your name, how often the page speaks, and going for good. */

import { hex } from "../../client/bytes.js";
import { copy } from "../copy.js";
import { button, make, rebuild } from "../dom.js";
import { EVERY_MS } from "../says.js";
import { drawKeep } from "./keep.js";

const OFTEN = ["every 5 seconds at most", "every 15 seconds at most", "once a minute at most", "never"];

/** "kept here, words written down" */
export function keysWords(store) {
  if (store.kept === null) return "none yet";
  const kept = store.isPersistent ? "kept here" : "kept here, may be forgotten";
  return `${kept}, ${store.kept.seed === null ? "words written down" : "words not yet written down"}`;
}

/**
 * @param {HTMLElement} body
 * @param {object} of
 * @param {import("../keys.js").Keystore} of.store
 * @param {import("../visit.js").Visit} of.visit
 * @param {() => void} of.onForget
 */
export function drawKeys(body, { store, visit, onForget }) {
  const { kept } = store;
  rebuild(body, JSON.stringify([kept.seed === null, kept.citizen, store.isPersistent]), () => {
    const name = make("input", { type: "text", maxLength: 40, value: kept.name, autocomplete: "nickname" });
    name.addEventListener("change", () => visit.rename(name.value.trim()));
    const often = make("select", null,
      ...OFTEN.map((words, i) => make("option", { value: i, selected: EVERY_MS[i] === visit.says.everyMs }, words)));
    often.addEventListener("change", () => {
      visit.says.everyMs = EVERY_MS[Number(often.value)];
    });
    const words = make("section", { "aria-label": "24 words" });
    if (kept.seed === null) words.append(make("p", { className: "small" }, "Your 24 words are written down; they are not kept here."));
    else drawKeep(words, { store, onLater: null, onKept: () => drawKeys(body, { store, visit, onForget }) });
    return [
      make("section", { "aria-label": "Name" },
        make("label", { className: "field" }, "Your name, for those who see you in full", name),
        make("p", { className: "small" }, `In this city you are ${kept.citizen === null ? "not known yet" : hex(kept.citizen)}.`),
        store.isPersistent ? null : make("p", { className: "small" }, copy.keysMayBeLost)),
      words,
      make("section", { "aria-label": "Reading aloud" },
        make("label", { className: "field" }, "How often this page may speak to a screen reader", often)),
      forgetting(onForget),
    ];
  });
}

/** Two presses, since nothing brings keys back but the words. */
function forgetting(onForget) {
  const box = make("section", { "aria-label": "Forget" },
    make("p", { className: "small" },
      "Forgetting removes your keys from this browser. Without your 24 words nobody, not even you, can be this person again."));
  const first = button("Forget my keys here", () => {
    const second = button("Forget them now", onForget, { className: "stop" });
    first.replaceWith(second);
    second.focus();
  }, { className: "plain" });
  box.append(first);
  return box;
}
