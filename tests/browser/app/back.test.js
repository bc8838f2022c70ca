import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Visit } from "../../../services/gateway/page/app/visit.js";
import { Watching } from "../../../services/gateway/page/app/watching.js";
import { newKeys } from "../../../services/gateway/page/client/connection.js";
import { pack } from "../../../services/gateway/page/client/messagepack.js";

const filled = (length, byte) => new Uint8Array(length).fill(byte);
const [ROOM, CITIZEN] = [filled(16, 7), filled(16, 3)];
const LIMITS = [65536, 64, 128, 256, 30000, 5];
const HELLO = ["hello", 1, filled(16, 1), Date.now(), "http://here", filled(32, 2), "gateway-0", LIMITS];
const SNAPSHOT = ["snapshot", ROOM, 0, false];
const STOPS = 1001;

/** A socket of which the test is the other end. */
class Socket {
  static last = null;
  readyState = 1;

  constructor() {
    Socket.last = this;
  }

  send() {}

  close() {}

  give(...messages) {
    this.onmessage({ data: pack(messages).buffer });
  }
}

let nowMs;
beforeEach((t) => {
  nowMs = 1000;
  globalThis.location = { protocol: "http:", host: "here" };
  globalThis.WebSocket = Socket;
  t.mock.timers.enable({ apis: ["setTimeout"] });
  t.mock.method(performance, "now", () => nowMs);
});

/** The gateway goes silent for 9 s and ends; another is there 0.1 s later. */
function loseAndComeBack(t, ...welcome) {
  Socket.last.give(HELLO, ...welcome);
  Socket.last.give(SNAPSHOT);
  nowMs += 9000;
  Socket.last.onclose({ code: STOPS, reason: "" });
  t.mock.timers.tick(1000);
  nowMs += 100;
  Socket.last.give(HELLO, ...welcome);
  Socket.last.give(SNAPSHOT);
}

const TOLD = "Back. 9.1 s are missing and stay missing.";

test("who watches is told all the time that is missing", (t) => {
  const watching = new Watching(ROOM, () => {});
  loseAndComeBack(t);
  assert.equal(watching.notices.current(nowMs).text, TOLD);
  watching.close();
});

test("who is in a room is told all the time that is missing", async (t) => {
  const { keys } = await newKeys();
  const store = { keys, kept: { citizen: CITIZEN, followed: [], name: "" }, takeLeft: async () => {} };
  const visit = new Visit(store, () => {});
  visit.goTo(ROOM);
  loseAndComeBack(t, ["welcome", filled(16, 1), CITIZEN, Date.now() + 300_000]);
  assert.equal(visit.notices.current(nowMs).text, TOLD);
  visit.close();
});
