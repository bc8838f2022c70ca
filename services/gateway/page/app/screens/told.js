/** How far a change of consent came, in a sentence. */

import { make } from "../dom.js";

const STEPS = { asked: "asked", acted: "acted: no byte of it leaves any more", recorded: "recorded" };

/**
 * @param {import("../desk.js").Asked|null} asked
 * @returns {HTMLElement|null} nil: there is nothing to tell
 */
export function told(asked) {
  if (asked === null) return null;
  if (asked.step === "refused") {
    return make("p", { className: "wrong" }, `Not recorded: ${asked.reason}. Nothing has changed.`);
  }
  const after = asked.afterMs === null ? "…" : ` after ${asked.afterMs} ms`;
  return make("p", { className: "small" }, `${STEPS[asked.step]}${after}`);
}
