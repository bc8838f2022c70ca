/** The header: where one is, and the state of the connection with its details. */

import { copy } from "../copy.js";
import { byId, make, rebuild, setAttribute, setText } from "../dom.js";
import { secondsOf } from "../link.js";
import { clockSeconds } from "../times.js";

/** "commons · open" */
export function kindWords({ kind, setting }) {
  return [kind, setting].filter(Boolean).join(" · ");
}

/** "stage · open · public", of a room in the city's list. @param {import("./places.js").Listed} listed */
export function roomWords(listed) {
  return `${kindWords(listed)} · ${listed.public ? "public" : "nothing recorded"}`;
}

/**
 * What a watched room is called: as the city's list has it; of what is not in it, nothing but whether it is
 * shown at all.
 * @param {object} of
 * @param {import("./places.js").Listed[]|null} of.list nil: it has not come
 * @param {string} of.sanctuary hexadecimal
 * @param {boolean} of.isShown whether its snapshot has come
 * @returns {{title: string, subtitle: string}}
 */
export function watchedTitles({ list, sanctuary, isShown }) {
  const listed = list?.find((each) => each.sanctuary === sanctuary);
  if (listed !== undefined) return { title: listed.name, subtitle: roomWords(listed) };
  if (isShown) return { title: "A stage", subtitle: "stage · public" };
  return { title: "Synchronia", subtitle: list === null ? "" : copy.notOpen };
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
