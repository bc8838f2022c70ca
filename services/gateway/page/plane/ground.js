/** The ground: the grid, whose cells are those of `coarse`, and the words at its edges. */

import { GRID, PAD_PX } from "./feeling.js";
import { fontOf } from "./lettering.js";

/**
 * @param {CanvasRenderingContext2D} context cleared, in CSS pixels
 * @param {import("./feeling.js").Size} size
 * @param {import("./tokens.js").Tokens} tokens
 */
export function drawGround(context, size, tokens) {
  const { width, height } = size;
  const [right, bottom] = [width - PAD_PX, height - PAD_PX];
  context.lineWidth = 1;
  context.strokeStyle = tokens.line;
  context.beginPath();
  for (let i = 0; i <= GRID; i += 1) {
    const x = crisp(PAD_PX + (i / GRID) * (right - PAD_PX));
    const y = crisp(PAD_PX + (i / GRID) * (bottom - PAD_PX));
    context.moveTo(x, PAD_PX);
    context.lineTo(x, bottom);
    context.moveTo(PAD_PX, y);
    context.lineTo(right, y);
  }
  context.stroke();
  context.strokeStyle = tokens.edge;
  context.globalAlpha = 0.5;
  context.beginPath();
  context.moveTo(crisp(width / 2), PAD_PX);
  context.lineTo(crisp(width / 2), bottom);
  context.moveTo(PAD_PX, crisp(height / 2));
  context.lineTo(right, crisp(height / 2));
  context.stroke();
  context.globalAlpha = 1;
  drawWords(context, size, tokens);
}

function drawWords(context, { width, height }, tokens) {
  context.font = fontOf(tokens);
  context.fillStyle = tokens.ink2;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText("lively", width / 2, PAD_PX / 2);
  context.fillText("calm", width / 2, height - PAD_PX / 2);
  for (const [word, x, turn] of [["unpleasant", PAD_PX / 2, -1], ["pleasant", width - PAD_PX / 2, 1]]) {
    context.save();
    context.translate(x, height / 2);
    context.rotate((turn * Math.PI) / 2);
    context.fillText(word, 0, 0);
    context.restore();
  }
}

/** A line of one pixel is sharp in the middle of a pixel. */
const crisp = (at) => Math.floor(at) + 0.5;
