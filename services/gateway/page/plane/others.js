/** Everybody but oneself: tiles on their seats, marks with trail, rim and name. */

import { PAD_PX, xOf, yOf } from "./feeling.js";
import { chooseNamed, MANY, NOTHING_TAKEN, placeLabel, Taken } from "./labels.js";
import { fontOf, writeOver } from "./lettering.js";
import { drawTiles, seatAt, SEAT_PX, seatsOf, TILE_PX } from "./seats.js";
import { flower } from "./shapes.js";
import { shade } from "./tokens.js";

const WHOLE_TURN = 2 * Math.PI;
/** Radius of a mark, CSS pixels: wide, narrow; smaller when there are many. */
const RADIUS_WIDE_PX = 13;
const RADIUS_NARROW_PX = 10.5;
const NARROW_PX = 420;
const MANY_SCALE = 0.64;
/** From the outline's radius to the rim's. */
const RIM = 1.36;
const TRAIL_POINTS_MANY = 14;
const TICK_PX = 5;

/** How wide a mark is drawn. @param {import("./feeling.js").Size} size */
export function radiusOf({ width }, people) {
  const radius = width < NARROW_PX ? RADIUS_NARROW_PX : RADIUS_WIDE_PX;
  return people > MANY ? radius * MANY_SCALE : radius;
}

/** What is drawn: the newest of everything. @typedef {object} Scene
 * @property {import("./crowd.js").Crowd} crowd advanced to `nowMs`
 * @property {import("./feeling.js").Size} size
 * @property {import("./tokens.js").Tokens} tokens
 * @property {number} nowMs
 * @property {boolean} isStill reduced motion: no trails, no fades
 * @property {Set<string>} followed
 * @property {string|null} focused
 * @property {(taken: Taken) => {left: number, top: number, width: number, height: number}[]} coverOfYou
 *   of one's own mark and its word, given where everybody else is
 */

export class Others {
  /** What marks, tiles and the axis words cover. */
  taken = new Taken();
  /** And oneself, and the names that are written so far. */
  #covered = new Taken();
  /** @type {Set<string>} who has a name on the plane */
  #named = new Set();
  /** @type {Map<string, number>} on which side of its mark a name is */
  #sides = new Map();
  /** @type {Map<string, number>} width of a text, CSS pixels */
  #widths = new Map();

  /** The theme or the type's size has changed. */
  forget() {
    this.#widths.clear();
  }

  /**
   * @param {CanvasRenderingContext2D} context cleared, in CSS pixels
   * @param {Scene} scene
   */
  draw(context, scene) {
    const { crowd, size, nowMs } = scene;
    const marks = [...crowd.marks.values()].filter((mark) => mark.hasPlace);
    const radius = radiusOf(size, marks.length);
    const isHollow = crowd.isHollow(nowMs);
    drawTiles(context, scene, isHollow);
    if (!scene.isStill) {
      const points = marks.length > MANY ? TRAIL_POINTS_MANY : undefined;
      for (const mark of marks) drawTrail(context, scene, mark, points);
    }
    this.taken.clear();
    for (const mark of marks) {
      const reach = radius * RIM;
      const [x, y] = [xOf(mark.shownValence, size), yOf(mark.shownArousal, size)];
      this.taken.claim(x - reach, y - reach, 2 * reach, 2 * reach);
      drawMark(context, scene, mark, { x, y, radius, isHollow: isHollow || mark.isHeld });
    }
    this.#claimRest(scene);
    this.#covered.copy(this.taken);
    for (const { left, top, width, height } of scene.coverOfYou(this.taken)) {
      this.#covered.claim(left, top, width, height);
    }
    this.#drawNames(context, scene, marks, radius);
    context.globalAlpha = 1;
  }

  /** The axis words and the tiles: no name covers them, nor one's own. */
  #claimRest({ crowd, size: { width, height }, size }) {
    for (const top of [0, height - PAD_PX]) this.taken.claim(width / 2 - 24, top, 48, PAD_PX);
    for (const left of [0, width - PAD_PX]) this.taken.claim(left, height / 2 - 40, PAD_PX, 80);
    const seats = seatsOf(size);
    crowd.tiles.counts.forEach((count, cell) => {
      if (count === 0) return;
      const [x, y] = seatAt(cell, 0, size);
      const tiles = SEAT_PX * Math.min(count, seats);
      this.taken.claim(x - TILE_PX / 2, y - TILE_PX / 2, tiles, TILE_PX);
    });
  }

  #drawNames(context, scene, marks, radius) {
    const { tokens, size, nowMs, isStill, followed, focused } = scene;
    this.#named = chooseNamed(marks, {
      width: size.width, nowMs, named: this.#named, followed, focused,
    });
    for (const citizen of this.#sides.keys()) {
      if (!this.#named.has(citizen)) this.#sides.delete(citizen);
    }
    context.font = fontOf(tokens);
    context.textAlign = "left";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    // that a seal is false is said in any case, so it chooses its place first
    const wanted = marks.filter((mark) => mark.isFalse || this.#named.has(mark.citizen))
      .sort((one, other) => other.isFalse - one.isFalse);
    for (const mark of wanted) {
      const text = labelOf(mark);
      if (text === "") continue;
      const [x, y] = [xOf(mark.shownValence, size), yOf(mark.shownArousal, size)];
      const box = { width: this.#widthOf(context, text), height: tokens.textPx * 1.35 };
      const at = { x, y, reach: radius * RIM };
      const place = placeLabel(this.#covered, at, box, size, this.#sides.get(mark.citizen))
        ?? (mark.isFalse ? placeLabel(NOTHING_TAKEN, at, box, size) : null);
      if (place === null) continue;
      this.#sides.set(mark.citizen, place.side);
      this.#covered.claim(place.left, place.top, box.width, box.height);
      context.globalAlpha = isStill ? 1 : mark.opacity(nowMs);
      writeOver(context, tokens, text, place.left, place.top + box.height / 2,
        mark.isFalse ? tokens.stop : tokens.ink);
    }
  }

  #widthOf(context, text) {
    let width = this.#widths.get(text);
    if (width === undefined) {
      if (this.#widths.size > 200) this.#widths.clear();
      width = context.measureText(text).width;
      this.#widths.set(text, width);
    }
    return width;
  }
}

function labelOf(mark) {
  if (mark.isFalse) return mark.name === "" ? "seal is false" : `${mark.name} · seal is false`;
  return mark.name;
}

// ── marks ─────────────────────────────────────────────────────────────────────────────────────────

function drawMark(context, { tokens, nowMs, isStill }, mark, { x, y, radius, isHollow }) {
  const alpha = isStill ? 1 : mark.opacity(nowMs);
  const seal = mark.seal(nowMs);
  const path = flower(mark.lobes, mark.shownValence, mark.shownArousal);
  const colour = shade(tokens, mark.shownValence);
  context.save();
  context.translate(x, y);
  context.globalAlpha = alpha;
  context.fillStyle = tokens.plane;
  context.beginPath();
  context.arc(0, 0, radius * RIM, 0, WHOLE_TURN);
  context.fill();
  context.scale(radius, radius);
  context.fillStyle = context.strokeStyle = colour;
  if (isHollow) {
    context.lineWidth = 1.25 / radius;
    context.stroke(path);
  } else {
    context.globalAlpha = seal === "false" ? alpha * 0.4 : alpha;
    context.fill(path);
  }
  context.restore();
  context.globalAlpha = alpha;
  drawRim(context, tokens, seal, x, y, radius * RIM);
}

/** What the seals prove: dotted pending, whole verified, open incomplete, a crossed square false. */
function drawRim(context, tokens, seal, x, y, reach) {
  context.strokeStyle = tokens.ink;
  context.lineWidth = 1.25;
  context.beginPath();
  if (seal === "false") {
    const half = reach * 0.9;
    const over = half + 3;
    context.strokeStyle = tokens.stop;
    context.lineWidth = 2.5;
    context.rect(x - half, y - half, 2 * half, 2 * half);
    context.moveTo(x - over, y - over);
    context.lineTo(x + over, y + over);
    context.moveTo(x + over, y - over);
    context.lineTo(x - over, y + over);
  } else if (seal === "incomplete") context.arc(x, y, reach, 0.5, WHOLE_TURN - 0.9);
  else context.arc(x, y, reach, 0, WHOLE_TURN);
  if (seal === "pending" || seal === "unsealed") context.setLineDash([1.5, 4]);
  context.stroke();
  context.setLineDash([]);
}

/** Wider and darker towards the mark; nothing where something is missing, and a tick at each end of it. */
function drawTrail(context, { size, tokens, nowMs }, mark, points) {
  const { trail } = mark;
  const first = trail.from(mark.falseMs ?? nowMs, points);
  const last = trail.length - 1;
  if (first >= last) return;
  const alpha = mark.opacity(nowMs);
  context.strokeStyle = shade(tokens, mark.shownValence);
  if (mark.isFalse) context.setLineDash([2, 3]);
  let [fromX, fromY] = [xOf(trail.valence(first), size), yOf(trail.arousal(first), size)];
  for (let i = first + 1; i <= last; i += 1) {
    const isHead = i === last && !mark.isFalse;
    const toX = xOf(isHead ? mark.shownValence : trail.valence(i), size);
    const toY = yOf(isHead ? mark.shownArousal : trail.arousal(i), size);
    const age = (i - first) / (last - first);
    context.globalAlpha = alpha * (0.12 + 0.6 * age);
    if (trail.isBroken(i)) {
      drawGap(context, [fromX, fromY], [toX, toY], {
        hasBefore: i - 1 > first && !trail.isBroken(i - 1), hasAfter: i === last || !trail.isBroken(i + 1),
      });
    } else {
      context.lineWidth = 0.8 + 2 * age;
      context.beginPath();
      context.moveTo(fromX, fromY);
      context.lineTo(toX, toY);
      context.stroke();
    }
    [fromX, fromY] = [toX, toY];
  }
  context.setLineDash([]);
}

/** A tick across each end of what is missing, where a trail ends there. */
function drawGap(context, [fromX, fromY], [toX, toY], { hasBefore, hasAfter }) {
  const across = Math.atan2(toY - fromY, toX - fromX) + Math.PI / 2;
  const [dx, dy] = [TICK_PX * Math.cos(across), TICK_PX * Math.sin(across)];
  const { globalAlpha } = context;
  context.globalAlpha = Math.max(globalAlpha, 0.9);
  context.lineWidth = 1.5;
  context.beginPath();
  for (const [x, y, isEnd] of [[fromX, fromY, hasBefore], [toX, toY, hasAfter]]) {
    if (!isEnd) continue;
    context.moveTo(x - dx, y - dy);
    context.lineTo(x + dx, y + dy);
  }
  context.stroke();
  context.globalAlpha = globalAlpha;
}
