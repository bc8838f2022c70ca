/** The plane in sentences: the list's lines, and "Read the room". Pure. */

import { GRID, inWords, MOST } from "./feeling.js";

const NAMELESS = "Somebody without a name";
const SEALS = Object.freeze({
  pending: "", verified: "", incomplete: "parts missing", unsealed: "not sealed",
  false: "seal is false: not shown as true",
});

/** @param {import("./crowd.js").Person} person */
export function nameOf({ name }) {
  return name === "" ? NAMELESS : name;
}

/**
 * What is seen of somebody, beside the name: "slightly pleasant, lively · parts missing".
 * @param {import("./crowd.js").Person} person
 */
export function lineOf({ valence, arousal, seal, isHollow }) {
  if (seal === "false") return SEALS.false;
  const feeling = valence === null ? "nothing said yet" : inWords({ valence, arousal });
  return [feeling, SEALS[seal], isHollow ? "connection lost" : ""].filter((part) => part !== "").join(" · ");
}

/**
 * How many are seen as cells, in words; "" for none. Who is shown to the room as a cell is one of the cells
 * oneself, and nobody can tell which: that is said, not guessed.
 * @param {number} count
 * @param {{isMore?: boolean, hasYou?: boolean}} [options] isMore: others were told of before; hasYou: one
 *   speaks, and the room sees one as a cell
 */
export function cellsLine(count, { isMore = false, hasYou = false } = {}) {
  if (count === 0) return "";
  const more = isMore ? " more" : "";
  if (count === 1) return `One${more} as a cell, without a name${hasYou ? "; it may be you" : ""}.`;
  return `${count}${more} as cells, without names${hasYou ? "; one may be you" : ""}.`;
}

/**
 * The room, read on demand.
 * @param {import("./crowd.js").Person[]} people
 * @param {ArrayLike<number>} counts how many in each of the 25 cells
 * @param {{hasYou?: boolean}} [options] as for `cellsLine`
 * @returns {string[]} sentences
 */
export function readRoom(people, counts, { hasYou = false } = {}) {
  const seen = people.map((person) => `${nameOf(person)}: ${lineOf(person)}.`);
  const cells = Array.from(counts, (count, cell) => ({ count, cell })).filter(({ count }) => count > 0);
  const total = cells.reduce((sum, { count }) => sum + count, 0);
  if (seen.length === 0 && total === 0) return ["You see nobody here now."];
  const where = cells.map(({ count, cell }) => `${count} ${inWords(middleOf(cell))}`);
  const told = total === 0 ? [] : [cellsLine(total, { isMore: seen.length > 0, hasYou }), `${where.join("; ")}.`];
  return [...seen, ...told];
}

/** A cell is as much as the middle of it, and no more is known. */
function middleOf(cell) {
  const middle = (i) => ((i + 0.5) / GRID) * 2 * MOST - MOST;
  return { valence: middle(cell % GRID), arousal: middle(Math.floor(cell / GRID)) };
}
