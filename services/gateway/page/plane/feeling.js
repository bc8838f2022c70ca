/** Feelings as places, keys and words. Pure; valence and arousal in thousandths, places in CSS pixels. */

/** The margin around the plane's square, where the axis words stand and no mark goes. */
export const PAD_PX = 30;
/** Columns and rows, as in the cells that `coarse` tells. */
export const GRID = 5;
export const MOST = 1000;

/** @typedef {{valence: number, arousal: number}} Feeling */
/** @typedef {{width: number, height: number}} Size of the plane, CSS pixels */

const bounded = (value) => Math.min(MOST, Math.max(-MOST, value));
const whole = (value) => Math.round(bounded(value)) + 0; // + 0: no negative zero

/** @param {Size} size */
export function xOf(valence, { width }) {
  return PAD_PX + ((valence + MOST) / (2 * MOST)) * (width - 2 * PAD_PX);
}

/** @param {Size} size; lively is up */
export function yOf(arousal, { height }) {
  return height - PAD_PX - ((arousal + MOST) / (2 * MOST)) * (height - 2 * PAD_PX);
}

/**
 * What somebody says by pointing there; beyond the square, its edge.
 * @param {number} x from the plane's left edge
 * @param {number} y from its upper edge
 * @param {Size} size
 * @returns {Feeling}
 */
export function feelingAt(x, y, { width, height }) {
  return {
    valence: whole(((x - PAD_PX) / (width - 2 * PAD_PX)) * 2 * MOST - MOST),
    arousal: whole(((height - PAD_PX - y) / (height - 2 * PAD_PX)) * 2 * MOST - MOST),
  };
}

/** The cell in which a viewer at `coarse` sees this: 5 × row + column from (−1, −1), as the city cuts it. */
export function cellOf({ valence, arousal }) {
  const cut = (value) => Math.min(GRID - 1, Math.floor(((value + MOST) * GRID) / (2 * MOST)));
  return GRID * cut(arousal) + cut(valence);
}

// ── keys ──────────────────────────────────────────────────────────────────────────────────────────

const STEP = 50;
const STRIDE = 200;
const ARROWS = {
  ArrowLeft: { valence: -1, arousal: 0 },
  ArrowRight: { valence: 1, arousal: 0 },
  ArrowUp: { valence: 0, arousal: 1 },
  ArrowDown: { valence: 0, arousal: -1 },
};

/**
 * What a key on either slider makes of a feeling.
 * @param {Feeling} feeling
 * @param {{key: string, shiftKey?: boolean, ctrlKey?: boolean, altKey?: boolean, metaKey?: boolean}} press
 * @returns {Feeling|null} nil: the key says nothing about feelings
 */
export function keyed({ valence, arousal }, { key, shiftKey, ctrlKey, altKey, metaKey }) {
  if (altKey || metaKey) return null;
  const arrow = ARROWS[key];
  if (arrow !== undefined && !ctrlKey) {
    const step = shiftKey ? STRIDE : STEP;
    return {
      valence: whole(valence + arrow.valence * step), arousal: whole(arousal + arrow.arousal * step),
    };
  }
  if (key === "Home") return ctrlKey ? { valence, arousal: -MOST } : { valence: -MOST, arousal };
  if (key === "End") return ctrlKey ? { valence, arousal: MOST } : { valence: MOST, arousal };
  if (ctrlKey) return null;
  if (key === "PageUp") return { valence, arousal: whole(arousal + STRIDE) };
  if (key === "PageDown") return { valence, arousal: whole(arousal - STRIDE) };
  if (key === "0") return { valence: 0, arousal: 0 };
  return null;
}

// ── words ─────────────────────────────────────────────────────────────────────────────────────────

/** Below NEARLY nothing is said of an axis, below PLAINLY "slightly", from STRONGLY on "very". */
const NEARLY = 100;
const PLAINLY = 350;
const STRONGLY = 700;

function degree(value, low, high) {
  const size = Math.abs(value);
  if (size < NEARLY) return null;
  const word = value < 0 ? low : high;
  if (size < PLAINLY) return `slightly ${word}`;
  return size < STRONGLY ? word : `very ${word}`;
}

/**
 * A place in words: "pleasant, calm".
 * @param {Feeling} feeling
 * @returns {string}
 */
export function inWords({ valence, arousal }) {
  const words = [degree(valence, "unpleasant", "pleasant"), degree(arousal, "calm", "lively")];
  return words.filter((word) => word !== null).join(", ") || "in the middle";
}

/**
 * Where each word of the vocabulary lies, by its index: [valence, arousal] in thousandths, set by hand
 * after the circumplex (Russell 1980). It orders suggestions and decides nothing else.
 */
const WORD_PLACES = [
  [600, -50], [-650, 600], [550, 400], [-600, 800], [-400, -700], [500, 200], [650, -450],
  [-600, -200], [650, 800], [800, 300], [350, 400], [850, 0], [600, 100], [550, -750], [-750, -450],
  [700, -250], [-450, 350],
];

/**
 * Indices into the vocabulary, nearest first.
 * @param {Feeling} feeling
 * @param {number} count
 * @returns {number[]}
 */
export function wordsNear({ valence, arousal }, count) {
  return WORD_PLACES.map(([v, a], label) => ({ label, far: Math.hypot(v - valence, a - arousal) }))
    .sort((one, other) => one.far - other.far || one.label - other.label)
    .slice(0, count)
    .map(({ label }) => label);
}
