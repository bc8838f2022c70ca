/** A mirror: a small plane that shows exactly what an audience receives of one at this moment. */

import { cellOf, GRID, MOST } from "./feeling.js";
import { flower } from "./shapes.js";
import { shade } from "./tokens.js";
import { lobesOf } from "./you.js";

const RATIO_MAX = 2;
/** Of the mirror's side: its margin, and the mark's radius. */
const MARGIN = 0.12;
const MARK = 0.15;

/** What an audience receives: `full`, `coarse`, `aggregate`, `withheld`, as in the consent records. */
export const Shown = Object.freeze({ WITHHELD: 0, AGGREGATE: 1, COARSE: 2, FULL: 3 });

/**
 * All that a mirror depends on, as one string: while it stays, the picture stays.
 * @param {{tier: number, feeling: import("./feeling.js").Feeling|null, citizen: string|null}} of
 */
export function mirrorKey({ tier, feeling, citizen }) {
  if (tier === Shown.COARSE) return `cell ${feeling === null ? "none" : cellOf(feeling)}`;
  if (tier !== Shown.FULL) return `tier ${tier}`;
  return `full ${citizen} ${feeling === null ? "none" : `${feeling.valence} ${feeling.arousal}`}`;
}

/**
 * @param {HTMLCanvasElement} canvas its CSS size is the mirror's
 * @param {{tier: number, feeling: import("./feeling.js").Feeling|null, citizen: string|null}} of tier: the
 *   effective one, of `Shown`
 * @param {import("./tokens.js").Tokens} tokens
 */
export function drawMirror(canvas, { tier, feeling, citizen }, tokens) {
  const side = canvas.clientWidth;
  const ratio = Math.min(devicePixelRatio || 1, RATIO_MAX);
  canvas.width = canvas.height = Math.round(side * ratio);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  if (tier === Shown.WITHHELD) drawStruck(context, side, tokens);
  else if (tier === Shown.AGGREGATE) drawCrowd(context, side, tokens);
  else if (tier === Shown.COARSE) drawCell(context, side, feeling, tokens);
  else if (feeling !== null) drawFull(context, side, { feeling, citizen }, tokens);
}

/** Nothing, and so that it is seen to be nothing. */
function drawStruck(context, side, tokens) {
  const margin = side * MARGIN;
  context.strokeStyle = tokens.ink2;
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(margin, side - margin);
  context.lineTo(side - margin, margin);
  context.stroke();
}

/** One of many, all alike: no place, no form, no colour. */
function drawCrowd(context, side, tokens) {
  context.fillStyle = tokens.ink2;
  const step = side / 5;
  for (let row = 1; row <= 4; row += 1) {
    for (let column = 1; column <= 4; column += 1) {
      const shift = row % 2 === 0 ? step / 4 : -step / 4;
      context.beginPath();
      context.arc(column * step + shift, row * step, side * 0.045, 0, 2 * Math.PI);
      context.fill();
    }
  }
}

function drawCell(context, side, feeling, tokens) {
  const margin = side * MARGIN;
  const cell = (side - 2 * margin) / GRID;
  context.strokeStyle = tokens.line;
  context.lineWidth = 1;
  context.beginPath();
  for (let i = 0; i <= GRID; i += 1) {
    const at = Math.round(margin + i * cell) + 0.5;
    context.moveTo(at, margin);
    context.lineTo(at, side - margin);
    context.moveTo(margin, at);
    context.lineTo(side - margin, at);
  }
  context.stroke();
  if (feeling === null) return;
  const index = cellOf(feeling);
  const [column, row] = [index % GRID, Math.floor(index / GRID)];
  context.fillStyle = shade(tokens, ((column + 0.5) / GRID) * 2 * MOST - MOST);
  context.strokeStyle = tokens.ink;
  context.beginPath();
  context.rect(margin + column * cell, side - margin - (row + 1) * cell, cell, cell);
  context.fill();
  context.stroke();
}

function drawFull(context, side, { feeling, citizen }, tokens) {
  const margin = side * (MARGIN + MARK);
  const part = (value) => (value + MOST) / (2 * MOST);
  context.translate(
    margin + part(feeling.valence) * (side - 2 * margin),
    side - margin - part(feeling.arousal) * (side - 2 * margin),
  );
  context.scale(side * MARK, side * MARK);
  context.fillStyle = shade(tokens, feeling.valence);
  context.fill(flower(lobesOf(citizen), feeling.valence, feeling.arousal));
}
