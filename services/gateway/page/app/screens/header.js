/** The header: where one is, and the state of the connection with its details. */

import { byId, make, rebuild, setAttribute, setText } from "../dom.js";
import { secondsOf } from "../link.js";
import { clockSeconds } from "../times.js";

/** "commons · open" */
export function kindWords({ kind, setting }) {
  return [kind, setting].filter(Boolean).join(" · ");
}

/** @param {{title: string, subtitle: string, link: import("../link.js").Link, nowMs: number}} of */
export function drawHeader({ title, subtitle, link, nowMs }) {
  setText(byId("title"), title);
  setText(byId("subtitle"), subtitle);
  setText(byId("link-text"), link.words(nowMs));
  setAttribute(byId("link"), "data-kind", link.kind(nowMs));
  document.title = title === "Synchronia" ? title : `${title} · Synchronia`;
}

/**
 * Delay now, and what was missed on this visit.
 * @param {HTMLElement} body
 * @param {{link: import("../link.js").Link, voiceDelayMs: number|null, nowMs: number}} of
 */
export function drawLinkDetails(body, { link, voiceDelayMs, nowMs }) {
  const rows = [
    ["Now", link.words(nowMs)],
    ["There and back", link.delayMs === null ? "not measured yet" : `${link.delayMs} ms`],
    ["What you say, seen", voiceDelayMs === null ? "not measured yet" : `${Math.round(voiceDelayMs)} ms`],
  ];
  if (link.lastClose) rows.push(["Last closed", link.lastClose]);
  const gaps = link.gaps.map((gap) => [
    clockSeconds(gap.fromMs), gap.isWhole ? "nothing missed" : `${secondsOf(gap).toFixed(1)} s missing`,
  ]);
  rebuild(body, JSON.stringify([rows, gaps]), () => [
    make("dl", null, ...rows.flatMap(([what, value]) => [make("dt", null, what), make("dd", null, value)])),
    make("section", null,
      make("h3", null, "Gaps of this visit"),
      gaps.length === 0
        ? make("p", { className: "small" }, "None.")
        : make("dl", null, ...gaps.flatMap(([at, text]) => [make("dt", null, at), make("dd", null, text)]))),
  ]);
}
