/** Those who are seen as a cell: tiles by pseudonym, each on a seat of its cell. Pure. */

import { FADE_MS, progress } from "./mark.js";

export const CELLS = 25;
/** No seat: a tile that has just come, or that goes. */
const NONE = -1;

/**
 * @typedef {object} Tile
 * @property {number} cell 0…24, or −1 once it goes
 * @property {number} seat 0, 1, 2, … within the cell
 * @property {number} fromCell what it fades from; −1: nothing
 * @property {number} fromSeat
 * @property {number} changedMs
 */

export class Tiles {
  /** How many are in each cell. */
  counts = new Uint16Array(CELLS);
  /** @type {Map<string, Tile>} by pseudonym; those that go are still among them */
  #tiles = new Map();
  /** @type {Map<string, number>} where everybody was last said to be */
  #cells = new Map();
  #isStale = false;

  /** How many are seen as a cell. */
  get size() {
    return this.#cells.size;
  }

  [Symbol.iterator]() {
    return this.#tiles.values();
  }

  /** @returns {boolean} whether anything changed */
  put(pseudonym, cell) {
    if (this.#cells.get(pseudonym) === cell) return false;
    if (cell === null && !this.#cells.delete(pseudonym)) return false;
    if (cell !== null) this.#cells.set(pseudonym, cell);
    this.#isStale = true;
    return true;
  }

  /** Gone at once, and not by fading. */
  strike(pseudonym) {
    this.#cells.delete(pseudonym);
    this.#tiles.delete(pseudonym);
    this.#isStale = true;
  }

  /** Only these stay. @param {Set<string>} pseudonyms */
  keep(pseudonyms) {
    for (const pseudonym of [...this.#tiles.keys(), ...this.#cells.keys()]) {
      if (!pseudonyms.has(pseudonym)) this.strike(pseudonym);
    }
  }

  clear() {
    this.keep(new Set());
  }

  /**
   * Seats by the order of pseudonyms. The place in the row means nothing: who changes seat fades over.
   * @param {number} nowMs
   */
  #seat(nowMs) {
    this.#isStale = false;
    this.counts.fill(0);
    for (const pseudonym of [...this.#cells.keys()].sort()) {
      const cell = this.#cells.get(pseudonym);
      this.#place(pseudonym, cell, this.counts[cell], nowMs);
      this.counts[cell] += 1;
    }
    for (const [pseudonym, tile] of this.#tiles) {
      if (!this.#cells.has(pseudonym) && tile.cell !== NONE) this.#place(pseudonym, NONE, 0, nowMs);
    }
  }

  #place(pseudonym, cell, seat, nowMs) {
    const tile = this.#tiles.get(pseudonym);
    if (tile?.cell === cell && tile.seat === seat) return;
    this.#tiles.set(pseudonym, {
      cell, seat, fromCell: tile?.cell ?? NONE, fromSeat: tile?.seat ?? 0, changedMs: nowMs,
    });
  }

  /**
   * Seats and fades up to now.
   * @param {number} nowMs
   * @param {boolean} isStill without fades
   * @returns {boolean} whether a fade is under way
   */
  advance(nowMs, isStill) {
    if (this.#isStale) this.#seat(nowMs);
    let isFading = false;
    for (const [pseudonym, tile] of this.#tiles) {
      const isOver = isStill || progress(tile.changedMs, nowMs, FADE_MS) === 1;
      if (isOver && tile.cell === NONE) this.#tiles.delete(pseudonym);
      isFading ||= !isOver;
    }
    return isFading;
  }
}
