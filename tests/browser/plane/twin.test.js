import assert from "node:assert/strict";
import { test } from "node:test";

import { cellsLine, lineOf, nameOf, readRoom } from "../../../services/gateway/page/plane/twin.js";

const person = (of) => ({
  name: "Ada", valence: 420, arousal: -360, seal: "verified", isHollow: false, ...of,
});

test("a line says the feeling, and what the seals do not prove", () => {
  assert.equal(lineOf(person()), "pleasant, calm");
  assert.equal(lineOf(person({ seal: "incomplete" })), "pleasant, calm · parts missing");
  assert.equal(lineOf(person({ seal: "unsealed", isHollow: true })), "pleasant, calm · not sealed · connection lost");
  assert.equal(lineOf(person({ valence: null, arousal: null, seal: "pending" })), "nothing said yet");
});

test("of a false seal nothing is said as if it were true", () => {
  assert.equal(lineOf(person({ seal: "false" })), "seal is false: not shown as true");
});

test("the room is read as it is drawn, cells without names", () => {
  const counts = new Uint16Array(25);
  assert.deepEqual(readRoom([], counts), ["You see nobody here now."]);
  counts[24] = 2;
  counts[12] = 1;
  assert.deepEqual(readRoom([person()], counts), [
    "Ada: pleasant, calm.", "3 more as cells, without names.", "1 in the middle; 2 very pleasant, very lively.",
  ]);
  assert.equal(nameOf(person({ name: "" })), "Somebody without a name");
  assert.deepEqual([cellsLine(0), cellsLine(1), cellsLine(4)],
    ["", "One as a cell, without a name.", "4 as cells, without names."]);
  const you = { hasYou: true };
  assert.equal(cellsLine(1, you), "One as a cell, without a name; it may be you.");
  assert.equal(readRoom([], counts, you)[0], "3 as cells, without names; one may be you.");
});
