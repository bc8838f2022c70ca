import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { beforeEach, test } from "node:test";

import { Connection, newKeys, sanctuaryOf } from "../../../services/gateway/page/client/connection.js";
import { pack, unpack } from "../../../services/gateway/page/client/messagepack.js";

const filled = (length, byte) => new Uint8Array(length).fill(byte);
const CITIZEN = filled(16, 3);

/** A socket of which the test is the other end. */
class Socket {
  static all = [];
  readyState = 0;
  sent = [];
  closedWith = null;

  constructor(url, subprotocol) {
    Object.assign(this, { url, subprotocol });
    Socket.all.push(this);
    heard.emit("socket", this);
  }

  send(frame) {
    for (const message of unpack(frame)) {
      this.sent.push(message);
      heard.emit(message[0], message);
    }
  }

  close(code) {
    this.closedWith = code;
    if (this.readyState !== 3) this.end(code ?? 1005);
  }

  end(code) {
    this.readyState = 3;
    this.onclose({ code, reason: "" });
  }

  give(...messages) {
    this.readyState = 1;
    this.onmessage({ data: pack(messages).buffer });
  }

  hello() {
    const limits = [65536, 64, 128, 256, 30000, 5];
    this.give(["hello", 1, filled(16, 1), Date.now(), "http://here", filled(32, 2), "gateway-0", limits]);
  }
}

let heard;
let events;
let connection;

beforeEach(async () => {
  heard = new EventEmitter();
  events = [];
  Socket.all = [];
  const { keys } = await newKeys();
  connection = new Connection({
    url: "ws://city/v1/live", keys, citizen: CITIZEN, WebSocket: Socket,
    onEvent: (event) => {
      events.push(event);
      heard.emit(`told ${event.type}`, event);
    },
  });
});

const states = () => events.filter(({ type }) => type === "state").map(({ state }) => state);

async function live() {
  const socket = Socket.all.at(-1);
  const token = once(heard, "token");
  socket.hello();
  await token;
  const asked = once(heard, "chain?");
  socket.give(["welcome", filled(16, 1), CITIZEN, Date.now() + 300_000]);
  await asked;
  return socket;
}

test("it connects, is welcomed, and ends when told", async () => {
  connection.open();
  connection.open(); // once is enough
  assert.equal(Socket.all.length, 1);
  assert.deepEqual([Socket.all[0].url, Socket.all[0].subprotocol], ["ws://city/v1/live", "synchronia.v1"]);
  const socket = await live();
  connection.close();
  assert.equal(socket.closedWith, 1000);
  assert.deepEqual(states(), ["connecting", "live", "closed"]);
  assert.deepEqual(events.filter(({ type }) => type === "fault"), []);
});

test("it comes back by itself, and joins again", async () => {
  connection.open();
  const first = await live();
  const joined = once(heard, "join");
  await connection.join(await sanctuaryOf("emotive-commons"));
  await joined;
  const next = once(heard, "socket");
  first.end(1006);
  assert.equal(connection.state, "waiting");
  await next;
  const again = once(heard, "join");
  await live();
  await again;
  connection.close();
  assert.deepEqual(states(), ["connecting", "live", "waiting", "connecting", "live", "closed"]);
});

test("it does not come back where it is told not to", async () => {
  connection.open();
  Socket.all[0].hello();
  Socket.all[0].end(4002);
  assert.equal(connection.state, "closed");
  assert.equal(events.find(({ type }) => type === "close").comeBackMs, null);
});

test("a frame of another protocol is the end", async () => {
  connection.open();
  const socket = await live();
  socket.onmessage({ data: Uint8Array.of(0xc1).buffer });
  assert.equal(socket.closedWith, 4000);
  assert.equal(connection.state, "closed");
});

test("a body that cannot be read is told, and the rest goes on", async () => {
  connection.open();
  const socket = await live();
  const room = filled(16, 7);
  socket.give(
    ["strand", room, filled(32, 8), CITIZEN, [filled(1, 1), filled(64, 1)], 0, null, null, null],
    ["closeness", room, true],
  );
  assert.deepEqual(events.find(({ type }) => type === "unreadable"), { type: "unreadable", what: "strand" });
  assert.ok(connection.viewer.room(room).isClose);
  connection.close();
});

test("a gateway that drains is left for another socket", async () => {
  connection.open();
  const socket = await live();
  const next = once(heard, "socket");
  socket.give(["move", 0]);
  await next;
  assert.equal(Socket.all.length, 2);
  connection.close();
});

test("a late answer of a socket that is gone says nothing on the next", async () => {
  connection.open();
  const first = await live();
  first.give(["nonce", filled(16, 9), 30]);
  connection.close();
  connection.open();
  const second = await live();
  assert.deepEqual(second.sent.map(([name]) => name).filter((name) => name === "token"), ["token"]);
  connection.close();
});

test("a chain that does not hold together is told as a fault", async () => {
  connection.open();
  const socket = await live();
  const fault = once(heard, "told fault");
  socket.give(["chain", 1, CITIZEN, 1, filled(32, 1), []]);
  assert.ok((await fault)[0].error instanceof RangeError);
  connection.close();
});

test("a watcher has no token, and says where it looks", async () => {
  const room = filled(16, 7);
  const watcher = new Connection({
    url: "ws://city/v1/live", watch: room, WebSocket: Socket, onEvent: (event) => events.push(event),
  });
  watcher.open();
  Socket.all[0].hello();
  Socket.all[0].give(["snapshot", room, 0, false]);
  assert.equal(Socket.all[0].url, `ws://city/v1/live?watch=${"07".repeat(16)}`);
  assert.deepEqual(Socket.all[0].sent, []);
  assert.deepEqual(states(), ["connecting", "live"]);
  assert.ok(events.some(({ type }) => type === "snapshot"));
  watcher.close();
});

test("every frame that can be read is told as heard, after what it tells of", () => {
  const room = filled(16, 7);
  const watcher = new Connection({
    url: "ws://city/v1/live", watch: room, WebSocket: Socket, onEvent: (event) => events.push(event),
  });
  watcher.open();
  Socket.all[0].hello();
  Socket.all[0].give(["closeness", room, true], ["gap", room]);
  Socket.all[0].give();
  Socket.all[0].onmessage({ data: Uint8Array.of(0xc1).buffer });
  assert.deepEqual(events.map(({ type, state }) => state ?? type), [
    "connecting", "live", "heard", "closeness", "gap", "heard", "heard", "close", "closed",
  ]);
});
