/** Tiles on their seats: those who are seen as a cell, in a row along its lower edge. */

import { GRID, MOST, PAD_PX } from "./feeling.js";
import { fontOf, writeOver } from "./lettering.js";
import { FADE_MS, progress } from "./mark.js";
import { shade } from "./tokens.js";

export const TILE_PX = 10;
export const SEAT_PX = 13;
/** From a cell's edges to the first seat. */
const SEAT_INSET_PX = 6;

/** How many seats a cell has. @param {import("./feeling.js").Size} size */
export function seatsOf({ width }) {
  const cell = (width - 2 * PAD_PX) / GRID;
  return Math.max(1, Math.floor((cell - SEAT_INSET_PX) / SEAT_PX));
}

/** The middle of a seat along the lower edge of its cell. */
export function seatAt(cell, seat, { width, height }) {
  const [column, row] = [cell % GRID, Math.floor(cell / GRID)];
  const left = PAD_PX + (column / GRID) * (width - 2 * PAD_PX);
  const bottom = height - PAD_PX - (row / GRID) * (height - 2 * PAD_PX);
  return [left + SEAT_INSET_PX + SEAT_PX * seat + TILE_PX / 2, bottom - SEAT_INSET_PX - TILE_PX / 2];
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {import("./others.js").Scene} scene
 * @param {boolean} isHollow
 */
export function drawTiles(context, scene, isHollow) {
  const { crowd, size, nowMs, isStill } = scene;
  const seats = seatsOf(size);
  for (const tile of crowd.tiles) {
    const part = isStill ? 1 : progress(tile.changedMs, nowMs, FADE_MS);
    if (part < 1) drawTile(context, scene, tile.fromCell, tile.fromSeat, 1 - part, { seats, isHollow });
    drawTile(context, scene, tile.cell, tile.seat, part, { seats, isHollow });
  }
  drawRest(context, scene, seats);
}

function drawTile(context, { crowd, size, tokens }, cell, seat, alpha, { seats, isHollow }) {
  // where seats run out the last one says how many more there are
  const last = cell >= 0 && crowd.tiles.counts[cell] > seats ? seats - 1 : seats;
  if (cell < 0 || seat >= last) return;
  const [x, y] = seatAt(cell, seat, size);
  context.globalAlpha = alpha;
  context.fillStyle = shade(tokens, (((cell % GRID) + 0.5) / GRID) * 2 * MOST - MOST);
  context.strokeStyle = tokens.ink;
  context.lineWidth = 1;
  context.beginPath();
  context.roundRect(x - TILE_PX / 2 + 0.5, y - TILE_PX / 2 + 0.5, TILE_PX - 1, TILE_PX - 1, 2.5);
  if (!isHollow) context.fill();
  context.stroke();
}

function drawRest(context, { crowd, size, tokens }, seats) {
  context.globalAlpha = 1;
  context.font = fontOf(tokens, { weight: 600, scale: 0.85 });
  context.textAlign = "left";
  context.textBaseline = "middle";
  crowd.tiles.counts.forEach((count, cell) => {
    if (count <= seats) return;
    const [x, y] = seatAt(cell, seats - 1, size);
    writeOver(context, tokens, `+${count - seats + 1}`, x - TILE_PX / 2, y, tokens.ink);
  });
}
