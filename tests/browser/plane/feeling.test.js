import assert from "node:assert/strict";
import { test } from "node:test";

import { VOCABULARY } from "../../../services/gateway/page/client/sample.js";
import {
  cellOf, feelingAt, inWords, keyed, wordsNear, xOf, yOf,
} from "../../../services/gateway/page/plane/feeling.js";
import { mirrorKey, Shown } from "../../../services/gateway/page/plane/mirror.js";
import { outline } from "../../../services/gateway/page/plane/shapes.js";

const SIZE = { width: 360, height: 300 };
const at = (valence, arousal) => ({ valence, arousal });

test("a place is the feeling that is drawn there, up to half a pixel", () => {
  for (let valence = -1000; valence <= 1000; valence += 40) {
    const arousal = Math.round(valence / 3) + 0;
    const [x, y] = [xOf(valence, SIZE), yOf(arousal, SIZE)];
    assert.deepEqual(feelingAt(x, y, SIZE), at(valence, arousal));
  }
  assert.ok(yOf(1000, SIZE) < yOf(-1000, SIZE));
});

test("beyond the square is its edge", () => {
  assert.deepEqual(feelingAt(-50, -50, SIZE), at(-1000, 1000));
  assert.deepEqual(feelingAt(900, 900, SIZE), at(1000, -1000));
  assert.deepEqual(feelingAt(180, 150, SIZE), at(0, 0));
});

test("a cell is cut as the city cuts it", () => {
  const cells = [[-1000, -1000, 0], [-601, -1000, 0], [-600, -1000, 1], [1000, -1000, 4], [999, 1000, 24],
    [0, 0, 12], [200, 199, 13], [-200, 200, 17], [-201, -201, 6]];
  for (const [valence, arousal, cell] of cells) assert.equal(cellOf(at(valence, arousal)), cell);
});

test("keys move by a twentieth, with Shift by a fifth, and stop at the edge", () => {
  const from = at(100, -100);
  const presses = [
    [{ key: "ArrowRight" }, 150, -100], [{ key: "ArrowLeft" }, 50, -100],
    [{ key: "ArrowUp" }, 100, -50], [{ key: "ArrowDown" }, 100, -150],
    [{ key: "ArrowRight", shiftKey: true }, 300, -100], [{ key: "ArrowDown", shiftKey: true }, 100, -300],
    [{ key: "PageUp" }, 100, 100], [{ key: "PageDown" }, 100, -300],
    [{ key: "Home" }, -1000, -100], [{ key: "End" }, 1000, -100],
    [{ key: "Home", ctrlKey: true }, 100, -1000], [{ key: "End", ctrlKey: true }, 100, 1000],
    [{ key: "0" }, 0, 0],
  ];
  for (const [press, valence, arousal] of presses) {
    assert.deepEqual(keyed(from, press), at(valence, arousal), JSON.stringify(press));
  }
  assert.deepEqual(keyed(at(980, -990), { key: "ArrowRight" }), at(1000, -990));
  assert.deepEqual(keyed(at(980, -990), { key: "PageDown" }), at(980, -1000));
});

test("other keys, and the browser's own, say nothing about feelings", () => {
  for (const press of [
    { key: "a" }, { key: "Tab" }, { key: "Escape" }, { key: "ArrowLeft", altKey: true },
    { key: "ArrowLeft", metaKey: true }, { key: "0", ctrlKey: true }, { key: "ArrowUp", ctrlKey: true },
    { key: "PageUp", ctrlKey: true },
  ]) assert.equal(keyed(at(0, 0), press), null, JSON.stringify(press));
});

test("a place in words", () => {
  const said = [[420, -360, "pleasant, calm"], [200, 300, "slightly pleasant, slightly lively"],
    [-800, 900, "very unpleasant, very lively"], [0, 0, "in the middle"], [99, -99, "in the middle"],
    [100, 0, "slightly pleasant"], [0, -700, "very calm"]];
  for (const [valence, arousal, words] of said) assert.equal(inWords(at(valence, arousal)), words);
});

test("suggested words are the nearest of the vocabulary, each once", () => {
  const words = (valence, arousal, count) => wordsNear(at(valence, arousal), count).map((i) => VOCABULARY[i]);
  assert.deepEqual(words(650, -450, 2), ["content", "satisfied"]);
  assert.deepEqual(words(-1000, 1000, 1), ["angry"]);
  assert.deepEqual(words(-900, -900, 3).sort(), ["bored", "disappointed", "sad"]);
  assert.deepEqual(words(0, 0, 99).sort(), [...VOCABULARY].sort());
});

test("the form says arousal by its depth and valence by its points", () => {
  const spread = (radii) => Math.max(...radii) - Math.min(...radii);
  const widths = (radii) => radii.reduce((sum, radius) => sum + radius, 0) / radii.length;
  assert.ok(spread(outline(6, 0, -1000)) < 0.05);
  assert.ok(spread(outline(6, 0, 1000)) > 0.6);
  assert.ok(widths(outline(6, 800, 800)) > widths(outline(6, -800, 800)) + 0.1);
  for (const lobes of [5, 6, 7, 8]) {
    const radii = outline(lobes, 300, 700);
    assert.equal(radii.filter((radius) => radius === Math.max(...radii)).length, lobes);
    assert.ok(Math.max(...radii) < 1.2);
  }
});

test("a mirror changes exactly when what its audience receives does", () => {
  const key = (tier, valence, arousal, citizen = "00ff") => mirrorKey({ tier, feeling: at(valence, arousal), citizen });
  assert.equal(key(Shown.COARSE, 10, 10), key(Shown.COARSE, 190, -190, "11aa"));
  assert.notEqual(key(Shown.COARSE, 10, 10), key(Shown.COARSE, 210, 10));
  assert.notEqual(key(Shown.FULL, 10, 10), key(Shown.FULL, 11, 10));
  assert.equal(key(Shown.AGGREGATE, 10, 10), key(Shown.AGGREGATE, -900, 10));
  assert.equal(key(Shown.WITHHELD, 10, 10), key(Shown.WITHHELD, -900, 10));
});
