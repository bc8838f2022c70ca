/** One notice at a time, and the two live regions. */

import { button, byId, rebuild, setAttribute, setText } from "../dom.js";

const WORDS = {
  "speak anyway": "Speak anyway", "still here": "Still here", speak: "Speak again", pause: "Pause",
  extend: "Extend", seen: "All right", rooms: "Other sanctuaries",
};
const ALERTS = new Set(["withdrawal late", "false seal"]);

/**
 * @param {import("../visit.js").Visit|null} visit
 * @param {(action: string, topic: string) => void} act
 */
export function drawNotice(visit, nowMs, act) {
  const notice = visit?.notices.current(nowMs) ?? null;
  const box = byId("notice");
  box.hidden = notice === null;
  if (notice === null) return;
  setText(byId("notice-text"), notice.text);
  setAttribute(box, "data-weight", ALERTS.has(notice.topic) ? "alert" : "plain");
  rebuild(byId("notice-acts"), `${notice.topic} ${notice.actions}`, () =>
    notice.actions.map((action) => button(WORDS[action], () => act(action, notice.topic))));
}

/** Sentences for those who hear the page. @param {import("../visit.js").Visit|null} visit */
export function speakUp(visit, nowMs) {
  if (visit === null) return;
  const sentence = visit.says.take(nowMs);
  if (sentence !== null) setText(byId("says"), sentence);
  setText(byId("alarm"), visit.alarm);
}
