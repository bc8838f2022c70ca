/** The sanctuaries of the city, as one may choose among them. */

import { byId, make, rebuild } from "../dom.js";
import { roomWords } from "./header.js";

/**
 * @typedef {object} Listed
 * @property {string} sanctuary hexadecimal
 * @property {string} name
 * @property {"commons"|"circle"|"stage"} kind
 * @property {string} setting
 * @property {boolean} public
 * @property {string} purpose
 */

/** @returns {Promise<Listed[]>} @throws {Error} when the city does not answer */
export async function listSanctuaries() {
  const answer = await fetch("/v1/sanctuaries");
  if (!answer.ok) throw new Error(`no list: ${answer.status}`);
  return (await answer.json()).sanctuaries;
}

/**
 * @param {object} of
 * @param {Listed[]|null} of.list nil: it has not come
 * @param {string|null} of.current hexadecimal
 * @param {(listed: Listed) => void} of.onChoose
 */
export function drawPlaces({ list, current, onChoose }) {
  rebuild(byId("sanctuaries"), JSON.stringify([list, current]), () => {
    if (list === null) return [make("li", { className: "small" }, "The list has not come yet. It is asked for again.")];
    return list.map((listed) => {
      const link = make("a", { href: `?room=${listed.sanctuary}` },
        make("b", null, listed.name),
        make("small", null, roomWords(listed)));
      if (listed.sanctuary === current) link.setAttribute("aria-current", "page");
      link.dataset.k = listed.sanctuary;
      link.addEventListener("click", (event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey) return;
        event.preventDefault();
        onChoose(listed);
      });
      return make("li", null, link);
    });
  });
}
