import assert from "node:assert/strict";
import { test } from "node:test";

import { chooseNamed, placeLabel, Taken } from "../../../services/gateway/page/plane/labels.js";
import { radiusOf } from "../../../services/gateway/page/plane/others.js";
import { seatAt, seatsOf } from "../../../services/gateway/page/plane/seats.js";

const SIZE = { width: 500, height: 500 };
const TEXT = { width: 60, height: 16 };
const MARK = { x: 250, y: 250, reach: 18 };

test("a name stands right, left, above or below, else nowhere", () => {
  const taken = new Taken();
  const sides = [];
  for (let i = 0; i < 5; i += 1) {
    const place = placeLabel(taken, MARK, TEXT, SIZE);
    sides.push(place?.side ?? null);
    if (place !== null) taken.claim(place.left, place.top, TEXT.width, TEXT.height);
  }
  assert.deepEqual(sides, [0, 1, 2, 3, null]);
});

test("a name stays on its side while that is free", () => {
  assert.equal(placeLabel(new Taken(), MARK, TEXT, SIZE, 3).side, 3);
  const taken = new Taken();
  taken.claim(220, 260, 60, 60);
  assert.equal(placeLabel(taken, MARK, TEXT, SIZE, 3).side, 0);
});

test("a name covers no mark and does not leave the plane", () => {
  const place = placeLabel(new Taken(), { x: 480, y: 250, reach: 18 }, TEXT, SIZE);
  assert.equal(place.side, 1);
  assert.ok(place.left + TEXT.width <= 480 - 18);
});

const people = (count) => Array.from({ length: count }, (_, i) => ({ citizen: String(i), movedMs: i * 100 }));
const OF = { width: 500, nowMs: 5000, named: new Set(), followed: new Set(), focused: null };

test("twenty people are all named; of more only so many, by who moved last", () => {
  assert.equal(chooseNamed(people(20), OF).size, 20);
  assert.deepEqual([...chooseNamed(people(50), OF)], Array.from({ length: 14 }, (_, i) => String(49 - i)));
  assert.equal(chooseNamed(people(50), { ...OF, width: 360 }).size, 8);
});

test("focused and followed come first, and who has a name keeps it while moving", () => {
  const of = { ...OF, width: 360, focused: "0", followed: new Set(["1"]), named: new Set(["3", "2"]) };
  assert.deepEqual([...chooseNamed(people(50), of)].slice(0, 5), ["0", "1", "3", "2", "49"]);
  const later = { ...of, nowMs: 5250 };
  assert.deepEqual([...chooseNamed(people(50), later)].slice(0, 4), ["0", "1", "3", "49"]);
});

test("nobody who rests is named among many", () => {
  assert.equal(chooseNamed(people(50), { ...OF, nowMs: 60_000 }).size, 0);
});

test("seats lie inside their cell, apart, along its lower edge", () => {
  for (const width of [260, 328, 532]) {
    const size = { width, height: width };
    const side = (width - 60) / 5;
    for (let cell = 0; cell < 25; cell += 1) {
      for (let seat = 0; seat < seatsOf(size); seat += 1) {
        const [x, y] = seatAt(cell, seat, size);
        const [left, bottom] = [30 + (cell % 5) * side, width - 30 - Math.floor(cell / 5) * side];
        assert.ok(x - 5 >= left && x + 5 <= left + side, `${width} ${cell} ${seat}`);
        assert.ok(y + 5 < bottom && y - 5 > bottom - side && bottom - y < 14);
        if (seat > 0) assert.ok(x - seatAt(cell, seat - 1, size)[0] >= 12);
      }
    }
  }
});

test("marks are smaller on a phone, and when there are many", () => {
  assert.deepEqual([radiusOf(SIZE, 20), radiusOf({ width: 340 }, 20)], [13, 10.5]);
  assert.ok(Math.abs(radiusOf(SIZE, 21) - 13 * 0.64) < 1e-9);
});
