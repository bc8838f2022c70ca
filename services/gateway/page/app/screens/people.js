/** Who one sees, as a list: made anew at most once a second, and only where it is new. */

import { cellsLine, lineOf, nameOf, readRoom } from "../../plane/twin.js";
import { VOCABULARY } from "../../client/sample.js";
import { button, byId, make, rebuild, setText } from "../dom.js";

const EVERY_MS = 1000;

export class People {
  #drawnMs = -Infinity;
  #onPerson;

  /** @param {((person: import("../../plane/crowd.js").Person) => void)|null} onPerson nil: names only */
  constructor(onPerson) {
    this.#onPerson = onPerson;
  }

  /**
   * @param {import("../../plane/crowd.js").Crowd} crowd
   * @param {number} nowMs
   * @param {{isNow?: boolean, hasYou?: boolean}} [options] hasYou: one of the cells may be oneself
   */
  draw(crowd, nowMs, { isNow = false, hasYou = false } = {}) {
    if (!isNow && nowMs - this.#drawnMs < EVERY_MS) return;
    this.#drawnMs = nowMs;
    const people = crowd.people(nowMs);
    const list = byId("people-list");
    rebuild(list, people.map(({ citizen, name }) => `${citizen} ${name}`).join("\n"), () =>
      people.map((person) => this.#row(person)));
    people.forEach((person, i) => {
      list.children[i].dataset.seal = person.seal;
      setText(list.children[i].lastElementChild, lineWith(person));
    });
    const cells = cellsLine(crowd.tiles.size, { isMore: people.length > 0, hasYou });
    const nobody = people.length === 0 && cells === "" ? "You see nobody here now." : cells;
    setText(byId("people-more"), nobody);
  }

  #row(person) {
    const name = nameOf(person);
    return make("li", null,
      this.#onPerson === null
        ? make("span", null, name)
        : button(name, () => this.#onPerson(person), { className: "name", title: "What they see of you" }),
      make("span", null, lineWith(person)));
  }
}

/** The feeling, and the word and note that came with it. */
function lineWith(person) {
  const said = [...person.labels.map((label) => VOCABULARY[label]), person.note && `“${person.note}”`];
  return [lineOf(person), ...(person.seal === "false" ? [] : said.filter(Boolean))].join(" · ");
}

/** @param {import("../../plane/crowd.js").Crowd} crowd @returns {string} the room, read on demand */
export function roomAloud(crowd, nowMs, { hasYou = false } = {}) {
  return readRoom(crowd.people(nowMs), crowd.tiles.counts, { hasYou }).join(" ");
}
