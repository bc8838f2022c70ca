/** Frames: arrays of messages, each an array whose first element is its name. Pure. */

import { MessagePackError, pack, unpack } from "./messagepack.js";

export const FRAME_BYTES_MAX = 65536;
export const FRAME_MESSAGES_MAX = 64;
/** What a frame's array header takes at most, for 64 messages. */
const FRAME_HEAD_BYTES = 3;

/** The fields of every message from a server, in order. */
const SERVER = {
  hello: ["version", "session", "nowMs", "origin", "city", "gateway", "limits"],
  welcome: ["session", "citizen", "expiresMs"],
  nonce: ["nonce", "withinS"],
  enrolled: ["ref", "citizen"],
  joined: ["ref", "sanctuary", "policy", "policyHash"],
  left: ["ref", "sanctuary"],
  following: ["ref", "sanctuary", "count"],
  challenge: ["sanctuary", "challenge", "reopen", "nowMs"],
  opened: ["ref", "strand", "nextSeq", "nextWindow"],
  sealed: ["strand", "window", "admitted"],
  "seal?": ["strand", "window"],
  "refused samples": ["strand", "first", "last", "reason", "nowMs"],
  refused: ["ref", "reason", "meaning", "nowMs"],
  acted: ["citizen", "counter"],
  recorded: ["ref", "citizen", "counter", "head"],
  chain: ["ref", "citizen", "counter", "head", "records"],
  time: ["clientMs", "nowMs"],
  move: ["withinS"],
  snapshot: ["sanctuary", "count", "recovered"],
  strand: [
    "sanctuary", "strand", "citizen", "opening", "nextSeq", "body", "seal", "unsealedFrom",
  ],
  sample: ["strand", "body"],
  "sealed window": ["strand", "record"],
  skipped: ["strand", "first", "last", "reason"],
  ended: ["strand", "reason", "total", "unsealedFrom"],
  released: ["strand", "seed"],
  coarse: ["sanctuary", "tick", "pseudonym", "cell"],
  struck: ["sanctuary", "citizen", "pseudonym"],
  gap: ["sanctuary"],
  closeness: ["sanctuary", "close"],
  rung: ["rung"],
  policy: ["sanctuary", "policy", "policyHash"],
};

const BYTES_OF = {
  session: 16, citizen: 16, nonce: 16, sanctuary: 16, challenge: 16, strand: 32, city: 32, head: 32,
  policyHash: 32, seed: 32, pseudonym: 8,
};
const NUMBERS = new Set([
  "version", "nowMs", "expiresMs", "withinS", "nextSeq", "nextWindow", "window", "first", "last",
  "counter", "clientMs", "count", "tick",
]);
const NIL_OR_NUMBER = new Set(["ref", "total", "unsealedFrom", "cell"]);
const FLAGS = new Set(["reopen", "recovered", "close"]);
const TEXTS = new Set(["origin", "gateway", "reason", "meaning", "rung"]);
const SIGNED = new Set(["opening", "seal", "record"]);
const OPTIONAL = new Set(["citizen", "pseudonym", "body", "seal"]);

const isBytes = (value, length) =>
  value instanceof Uint8Array && (length === undefined || value.length === length);
const isSigned = (value) =>
  Array.isArray(value) && value.length >= 2 && isBytes(value[0]) && isBytes(value[1], 64);

/** Whether a field's value is of the type that its name promises. */
function fits(field, value) {
  if (value === null) return OPTIONAL.has(field) || NIL_OR_NUMBER.has(field);
  if (field in BYTES_OF) return isBytes(value, BYTES_OF[field]);
  if (NUMBERS.has(field) || NIL_OR_NUMBER.has(field)) return Number.isInteger(value) && value >= 0;
  if (FLAGS.has(field)) return typeof value === "boolean";
  if (TEXTS.has(field)) return typeof value === "string";
  if (SIGNED.has(field)) return isSigned(value);
  if (field === "records") return Array.isArray(value) && value.every(isSigned);
  if (field === "admitted" || field === "limits") {
    return Array.isArray(value) && value.every(Number.isInteger);
  }
  return isBytes(value); // body, policy
}

/**
 * A message by the names of its fields, `type` first. Longer arrays than known are read as far as
 * known; a name that is not known comes as `{type: "unknown", name}`, for an older client to pass over.
 * @typedef {{type: string} & Record<string, any>} ServerMessage
 */

/** @returns {ServerMessage} */
function readMessage(/** @type {unknown} */ message) {
  if (!Array.isArray(message) || typeof message[0] !== "string") {
    throw new MessagePackError("a message is an array that begins with its name");
  }
  const [name, ...values] = message;
  if (!Object.hasOwn(SERVER, name)) return { type: "unknown", name };
  const read = { type: name };
  SERVER[name].forEach((field, i) => {
    // a field that was appended later is absent in older servers' messages
    const value = values[i] === undefined && field === "unsealedFrom" ? null : values[i];
    if (value === undefined || !fits(field, value)) {
      throw new MessagePackError(`${name}: ${field} is not as documented`);
    }
    read[field] = value;
  });
  return read;
}

/**
 * @param {Uint8Array} frame
 * @returns {ServerMessage[]}
 * @throws {MessagePackError} for what is not of this protocol
 */
export function readFrame(frame) {
  const messages = unpack(frame);
  if (!Array.isArray(messages)) throw new MessagePackError("a frame is an array of messages");
  return messages.map(readMessage);
}

/**
 * Frames of these messages, in order: as few as the limits allow.
 * @param {import("./messagepack.js").Value[][]} messages
 * @param {{bytes?: number, messages?: number}} [limits] as `hello` states them
 * @returns {Uint8Array[]}
 */
export function packFrames(messages, { bytes = FRAME_BYTES_MAX, messages: most = FRAME_MESSAGES_MAX } = {}) {
  const frames = [];
  let batch = [];
  let length = FRAME_HEAD_BYTES;
  for (const message of messages) {
    const size = pack(message).length;
    if (size + FRAME_HEAD_BYTES > bytes) throw new RangeError("a message longer than a frame");
    if (batch.length === most || length + size > bytes) {
      frames.push(pack(batch));
      batch = [];
      length = FRAME_HEAD_BYTES;
    }
    batch.push(message);
    length += size;
  }
  if (batch.length > 0) frames.push(pack(batch));
  return frames;
}

/** Messages from the client, by name. Bytes and numbers as documented in docs/protocol.md. */
export const say = Object.freeze({
  token: (jwt) => ["token", jwt],
  enrol: (ref, record) => ["enrol", ref, record],
  join: (ref, sanctuary, record, held = []) => ["join", ref, sanctuary, record, held],
  leave: (ref, sanctuary) => ["leave", ref, sanctuary],
  follow: (ref, sanctuary, record) => ["follow", ref, sanctuary, record],
  open: (ref, sanctuary, record) => ["open", ref, sanctuary, record],
  samples: (sanctuary, strand, epoch, bodies) => ["samples", sanctuary, strand, epoch, bodies],
  seal: (sanctuary, strand, record) => ["seal", sanctuary, strand, record],
  release: (sanctuary, strand, seed) => ["release", sanctuary, strand, seed],
  record: (ref, record) => ["record", ref, record],
  askChain: (ref, citizen, before = null) => ["chain?", ref, citizen, before],
  time: (clientMs) => ["time?", clientMs],
});
