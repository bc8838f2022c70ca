/**
 * A plane with made-up people, to look at and to measure: `?people=50&tiles=12&state=moving`.
 *
 * `window.bench`: the plane, the crowd, `frames(count)` which resolves to ms between frames and ms of
 * work a frame while everybody moves ten times a second, and `states` for pictures.
 */

import { Crowd } from "../../../services/gateway/page/plane/crowd.js";
import { drawMirror } from "../../../services/gateway/page/plane/mirror.js";
import { Pad } from "../../../services/gateway/page/plane/pad.js";
import { pageNowMs, Plane } from "../../../services/gateway/page/plane/plane.js";

const query = new URLSearchParams(location.search);
const PEOPLE = Number(query.get("people") ?? 7);
const TILES = Number(query.get("tiles") ?? 12);
const SAMPLE_MS = 100;
const NAMES = ["Kira Voss", "Talan Astra", "Ilse Okoro", "Milo Zane", "Rai Juno", "Teo Brandt", "Nour Haddad"];

/** What each frame cost, ms: the callbacks alone, without the screen's own work. */
const workMs = [];
const ask = window.requestAnimationFrame.bind(window);
window.requestAnimationFrame = (act) => ask((atMs) => {
  const beganMs = performance.now();
  act(atMs);
  workMs.push(performance.now() - beganMs);
});

const figure = document.querySelector("figure");
const crowd = new Crowd();
const plane = new Plane(figure, { crowd });
/** What the pad said, oldest first. */
const said = [];
const pad = new Pad(figure, plane, {
  onFeel: (feeling) => said.push(feeling), onSpeak: () => said.push("speak"), onWords: () => said.push("words"),
});
const people = Array.from({ length: PEOPLE }, (_, i) => {
  const id = i.toString(16).padStart(2, "0");
  return {
    citizen: id.repeat(16), strand: id.repeat(32), name: NAMES[i] ?? `Person ${i + 1}`, seq: 0,
    valence: 900 * Math.sin(i * 2.4) * Math.sqrt((i + 1) / PEOPLE), arousal: 900 * Math.cos(i * 2.4) * Math.sqrt((i + 1) / PEOPLE),
  };
});

/** Somebody's next sample: a walk that depends on nothing but its number. */
function step(person, i, nowMs, { stride = 18 } = {}) {
  const angle = i + person.seq / 9 + Math.sin(person.seq / 5 + i);
  person.valence = Math.max(-1000, Math.min(1000, person.valence + stride * Math.cos(angle)));
  person.arousal = Math.max(-1000, Math.min(1000, person.arousal + stride * Math.sin(angle)));
  const sample = {
    seq: person.seq, valence: Math.round(person.valence), arousal: Math.round(person.arousal), labels: [], note: null,
  };
  person.seq += 1;
  crowd.see({ type: "sample", strand: person.strand, citizen: person.citizen, sample }, nowMs);
}

function judge(person, state) {
  const { strand, citizen } = person;
  crowd.see({ type: "window", strand, citizen, state, first: 0, last: 0 }, pageNowMs());
}

/** A room as it is after 20 s: everybody has a trail, some have something to tell apart. */
function settle() {
  const nowMs = pageNowMs();
  for (const person of people) crowd.see({ type: "strand", sample: null, ...person }, nowMs - 21_000);
  for (let k = 0; k < 40; k += 1) {
    people.forEach((person, i) => {
      if (i === 0 && k === 25) person.seq += 7;
      step(person, i, nowMs - (40 - k) * 500, { stride: i === 0 && k === 25 ? 160 : 18 });
    });
  }
  people.forEach((person, i) => judge(person, i % 7 === 3 ? "pending" : i % 7 === 5 ? "incomplete" : "verified"));
  for (let i = 0; i < TILES; i += 1) {
    const pseudonym = (i * 37 % 256).toString(16).padStart(16, "0");
    crowd.see({ type: "coarse", pseudonym, cell: i < 9 ? 7 : (i * 11) % 25 }, nowMs - 1000);
  }
  for (let k = 0; k < 40; k += 1) plane.trace([{ valence: 420 - (40 - k) * 13 + Math.round(70 * Math.sin((40 - k) / 9)), arousal: -360 }]);
  pad.feeling = { valence: 420, arousal: -360 };
  plane.you = { citizen: "07".repeat(16), acknowledged: { valence: 345, arousal: -385 }, isSeen: true };
  plane.refresh();
}

/** What the pictures show, by name. */
const states = {
  crowd() {},
  false: () => judge(people[0], "false"),
  withdrawn: () => { plane.you = { isSeen: false }; },
  lost: () => crowd.gap(pageNowMs() - 3000),
  empty: () => crowd.clear(),
};

/**
 * @param {number} count how many frames
 * @returns {Promise<{betweenMs: number[], workMs: number[]}>}
 */
async function frames(count) {
  const timer = setInterval(() => {
    people.forEach((person, i) => step(person, i, pageNowMs()));
    plane.refresh();
  }, SAMPLE_MS);
  const betweenMs = [];
  let lastMs = null;
  workMs.length = 0;
  await new Promise((resolve) => {
    const frame = (nowMs) => {
      if (lastMs !== null) betweenMs.push(nowMs - lastMs);
      lastMs = nowMs;
      if (betweenMs.length < count) ask(frame);
      else resolve();
    };
    ask(frame);
  });
  clearInterval(timer);
  return { betweenMs, workMs: workMs.slice() };
}

function mirrors() {
  const feeling = { valence: 420, arousal: -360 };
  document.querySelector("#mirrors").replaceChildren(...[0, 1, 2, 3].map((tier) => {
    const canvas = document.createElement("canvas");
    queueMicrotask(() => drawMirror(canvas, { tier, feeling, citizen: "07".repeat(16) }, plane.tokens));
    return canvas;
  }));
}

settle();
mirrors();
states[query.get("state") ?? "crowd"]();
plane.refresh();
window.bench = { plane, crowd, pad, people, said, step, judge, frames, pageNowMs };
