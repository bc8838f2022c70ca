/** One's own mark: it follows the hand; a thin circle is where the city last said it has one. */

import { xOf, yOf } from "./feeling.js";
import { NOTHING_TAKEN, placeLabel } from "./labels.js";
import { fontOf, writeOver } from "./lettering.js";
import { flower } from "./shapes.js";
import { shade } from "./tokens.js";
import { Trail } from "./trail.js";

const WHOLE_TURN = 2 * Math.PI;
const RADIUS_PX = 14;
const RING_PX = 20;
const WORD_GAP_PX = 4;
const WORD = Object.freeze({ weight: 600, scale: 1.08 });
const ACKNOWLEDGED_PX = 9;
/** Closer than this the thread would be a smudge. */
const THREAD_PX_MIN = 2;

/**
 * One's own mark as it is drawn; feelings in thousandths.
 * @typedef {object} Own
 * @property {string|null} citizen hexadecimal; for the form
 * @property {import("./feeling.js").Feeling|null} feeling nil: nothing is drawn
 * @property {import("./feeling.js").Feeling|null} acknowledged what the city last acknowledged
 * @property {boolean} isSeen false: hollow and dashed, "you, unseen"
 * @property {boolean} hasFocus the sliders have the keyboard
 */

/** @type {Own} */
export const NOBODY = Object.freeze({
  citizen: null, feeling: null, acknowledged: null, isSeen: false, hasFocus: false,
});

export class You {
  #trail = new Trail();
  /** On which side of the mark its word is: right, left, above, below. */
  side = 0;

  /** Where the hand went; finer than what is sent. */
  trace({ valence, arousal }, nowMs) {
    this.#trail.add(valence, arousal, nowMs, false);
  }

  clear() {
    this.#trail.clear();
  }

  /**
   * @param {CanvasRenderingContext2D} context cleared, in CSS pixels
   * @param {{own: Own, size: import("./feeling.js").Size, tokens: import("./tokens.js").Tokens,
   *          nowMs: number, isStill: boolean, taken: import("./labels.js").Taken}} scene taken: by all others
   */
  draw(context, { own, size, tokens, nowMs, isStill, taken }) {
    if (own.feeling === null) {
      if (own.hasFocus) drawFrame(context, size, tokens);
      return;
    }
    const { valence, arousal } = own.feeling;
    const [x, y] = [xOf(valence, size), yOf(arousal, size)];
    if (own.isSeen && !isStill) this.#drawTrail(context, size, tokens, nowMs);
    if (own.isSeen && own.acknowledged !== null) drawThread(context, own, size, tokens);
    const colour = own.isSeen ? tokens.act : tokens.ink2;
    context.fillStyle = tokens.plane;
    context.beginPath();
    context.arc(x, y, RING_PX, 0, WHOLE_TURN);
    context.fill();
    context.strokeStyle = colour;
    context.lineWidth = 3;
    if (!own.isSeen) context.setLineDash([5, 4]);
    context.stroke();
    drawForm(context, own, tokens, x, y);
    context.setLineDash([]);
    if (own.hasFocus) drawFocus(context, tokens, x, y);
    const word = this.#placeWord(context, { own, size, tokens, taken });
    writeOver(context, tokens, wordOf(own), word.left, word.top + word.height / 2, colour);
  }

  /**
   * What one's own mark and its word cover, so that no name is put there. The word goes where nobody is,
   * if there is such a place beside the mark.
   * @param {CanvasRenderingContext2D} context to measure with
   * @param {{own: Own, size: import("./feeling.js").Size, tokens: import("./tokens.js").Tokens,
   *          taken: import("./labels.js").Taken}} scene
   * @returns {{left: number, top: number, width: number, height: number}[]}
   */
  cover(context, { own, size, tokens, taken }) {
    if (own.feeling === null) return [];
    const [x, y] = [xOf(own.feeling.valence, size), yOf(own.feeling.arousal, size)];
    const ring = { left: x - RING_PX, top: y - RING_PX, width: 2 * RING_PX, height: 2 * RING_PX };
    return [ring, this.#placeWord(context, { own, size, tokens, taken })];
  }

  #placeWord(context, { own, size, tokens, taken }) {
    const [x, y] = [xOf(own.feeling.valence, size), yOf(own.feeling.arousal, size)];
    context.font = fontOf(tokens, WORD);
    context.textBaseline = "middle";
    context.textAlign = "left";
    context.lineJoin = "round";
    const box = { width: context.measureText(wordOf(own)).width, height: tokens.textPx * WORD.scale * 1.35 };
    const at = { x, y, reach: RING_PX + WORD_GAP_PX };
    const place = placeLabel(taken, at, box, size, this.side)
      ?? placeLabel(NOTHING_TAKEN, at, box, size, this.side)
      ?? { left: (size.width - box.width) / 2, top: y - box.height / 2, side: 0 }; // huge type
    this.side = place.side;
    return { ...place, ...box };
  }

  #drawTrail(context, size, tokens, nowMs) {
    const trail = this.#trail;
    const first = trail.from(nowMs);
    context.strokeStyle = tokens.act;
    for (let i = first + 1; i < trail.length; i += 1) {
      const age = (i - first) / (trail.length - first);
      context.globalAlpha = 0.12 + 0.4 * age;
      context.lineWidth = 0.8 + 2 * age;
      context.beginPath();
      context.moveTo(xOf(trail.valence(i - 1), size), yOf(trail.arousal(i - 1), size));
      context.lineTo(xOf(trail.valence(i), size), yOf(trail.arousal(i), size));
      context.stroke();
    }
    context.globalAlpha = 1;
  }
}

function drawForm(context, { feeling, citizen, isSeen }, tokens, x, y) {
  const lobes = lobesOf(citizen);
  context.save();
  context.translate(x, y);
  context.scale(RADIUS_PX, RADIUS_PX);
  const path = flower(lobes, feeling.valence, feeling.arousal);
  if (isSeen) {
    context.fillStyle = shade(tokens, feeling.valence);
    context.fill(path);
  } else {
    context.strokeStyle = tokens.ink2;
    context.lineWidth = 1.25 / RADIUS_PX;
    context.setLineDash([3 / RADIUS_PX, 3 / RADIUS_PX]);
    context.stroke(path);
  }
  context.restore();
}

/** Five to eight, from the id, as the others see it. */
export function lobesOf(citizen) {
  return citizen === null ? 6 : 5 + (Number.parseInt(citizen.slice(0, 2), 16) % 4);
}

function drawThread(context, { feeling, acknowledged }, size, tokens) {
  const [x, y] = [xOf(feeling.valence, size), yOf(feeling.arousal, size)];
  const [atX, atY] = [xOf(acknowledged.valence, size), yOf(acknowledged.arousal, size)];
  if (Math.hypot(atX - x, atY - y) < THREAD_PX_MIN) return;
  context.strokeStyle = tokens.act;
  context.lineWidth = 1.5;
  context.beginPath();
  context.arc(atX, atY, ACKNOWLEDGED_PX, 0, WHOLE_TURN);
  context.stroke();
  context.setLineDash([2, 3]);
  context.beginPath();
  context.moveTo(atX, atY);
  context.lineTo(x, y);
  context.stroke();
  context.setLineDash([]);
}

function drawFocus(context, tokens, x, y) {
  context.strokeStyle = tokens.ink;
  context.lineWidth = 2;
  context.beginPath();
  context.arc(x, y, RING_PX + 5, 0, WHOLE_TURN);
  context.stroke();
}

/** Focus before the first feeling: there is no mark yet to draw it around. */
function drawFrame(context, { width, height }, tokens) {
  context.strokeStyle = tokens.act;
  context.lineWidth = 3;
  context.strokeRect(4.5, 4.5, width - 9, height - 9);
}

const wordOf = ({ isSeen }) => (isSeen ? "you" : "you, unseen");
