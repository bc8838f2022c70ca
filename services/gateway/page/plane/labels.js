/** Where names go: beside their mark and over nothing else, or nowhere, for the list has them all. Pure. */

/** Above this many people marks are small and only some have their name beside them. */
export const MANY = 20;
const NAMED_MAX_WIDE = 14;
const NAMED_MAX_NARROW = 8;
const NARROW_PX = 420;
/** Who has a name beside the mark keeps it for this long after moving, so that names do not flicker. */
const NAMED_MS = 5000;
const RECTANGLES_MAX = 512;

/** Rectangles that are taken, in the order in which they were claimed. */
export class Taken {
  #edges = new Float32Array(4 * RECTANGLES_MAX);
  #count = 0;

  clear() {
    this.#count = 0;
  }

  /** @returns {boolean} whether nothing that was claimed lies there */
  isFree(left, top, width, height) {
    for (let i = 0; i < 4 * this.#count; i += 4) {
      const edges = this.#edges;
      const isApart = left >= edges[i + 2] || left + width <= edges[i]
        || top >= edges[i + 3] || top + height <= edges[i + 1];
      if (!isApart) return false;
    }
    return true;
  }

  /** As much is taken as there. @param {Taken} other */
  copy(other) {
    this.#edges.set(other.#edges);
    this.#count = other.#count;
  }

  claim(left, top, width, height) {
    if (this.#count === RECTANGLES_MAX) return; // past that names may touch; nothing else is lost
    this.#edges.set([left, top, left + width, top + height], 4 * this.#count);
    this.#count += 1;
  }
}

export const NOTHING_TAKEN = new Taken();

/** Right, left, above, below: [towards x, towards y]. */
const SIDES = [[1, 0], [-1, 0], [0, -1], [0, 1]];

/**
 * The first of four places that is free, beginning with the one that it had.
 * @param {Taken} taken
 * @param {{x: number, y: number, reach: number}} mark `reach`: from its middle to its rim
 * @param {{width: number, height: number}} text
 * @param {import("./feeling.js").Size} size of the plane
 * @param {number} [side] where it was, 0…3
 * @returns {{left: number, top: number, side: number}|null}
 */
export function placeLabel(taken, { x, y, reach }, text, size, side = 0) {
  for (let i = 0; i < SIDES.length; i += 1) {
    const tried = i === 0 ? side : i <= side ? i - 1 : i;
    const [dx, dy] = SIDES[tried];
    const left = x - text.width / 2 + dx * (reach + 4 + text.width / 2);
    const top = y - text.height / 2 + dy * (reach + 2 + text.height / 2);
    const isInside = left >= 2 && top >= 2
      && left + text.width <= size.width - 2 && top + text.height <= size.height - 2;
    if (isInside && taken.isFree(left, top, text.width, text.height)) {
      return { left, top, side: tried };
    }
  }
  return null;
}

/**
 * Who is named on the plane: everybody while they are few; else followed, focused, and as many as fit of
 * those who moved, newest first, those who are named already before the others.
 * @param {{citizen: string, movedMs: number}[]} marks
 * @param {object} of
 * @param {number} of.width of the plane, CSS pixels
 * @param {number} of.nowMs
 * @param {Set<string>} of.named who is named now
 * @param {Set<string>} of.followed
 * @param {string|null} of.focused
 * @returns {Set<string>}
 */
export function chooseNamed(marks, { width, nowMs, named, followed, focused }) {
  if (marks.length <= MANY) return new Set(marks.map(({ citizen }) => citizen));
  const most = width < NARROW_PX ? NAMED_MAX_NARROW : NAMED_MAX_WIDE;
  const rank = ({ citizen, movedMs }) => {
    if (citizen === focused) return 0;
    if (followed.has(citizen)) return 1;
    if (nowMs - movedMs >= NAMED_MS) return 4;
    return named.has(citizen) ? 2 : 3;
  };
  const ranked = marks
    .map((mark) => ({ mark, of: rank(mark) }))
    .filter(({ of }) => of < 4)
    .sort((one, other) => one.of - other.of || other.mark.movedMs - one.mark.movedMs);
  return new Set(ranked.slice(0, most).map(({ mark }) => mark.citizen));
}
