/**
 * MessagePack in shortest form, as far as this protocol uses it: nil, booleans, integers up to 2⁵³,
 * `bin`, `str` and arrays. No floats, no maps, no extensions: what a signature covers has one form.
 */

import { equal } from "./bytes.js";

/** Arrays within arrays; the protocol needs five. */
const DEPTH_MAX = 16;

/** Bytes that are not MessagePack of this protocol, or a value that has no such bytes. */
export class MessagePackError extends Error {
  name = "MessagePackError";
}

/** @typedef {null|boolean|number|string|Uint8Array|Value[]} Value */

class Writer {
  bytes = new Uint8Array(256);
  view = new DataView(this.bytes.buffer);
  length = 0;

  /** @param {number} count bytes about to be written; returns where they go */
  claim(count) {
    const at = this.length;
    this.length += count;
    if (this.length > this.bytes.length) {
      const wider = new Uint8Array(Math.max(this.length, 2 * this.bytes.length));
      wider.set(this.bytes);
      this.bytes = wider;
      this.view = new DataView(wider.buffer);
    }
    return at;
  }

  /** A head byte and an unsigned number of 1, 2 or 4 bytes. */
  head(byte, number, size) {
    const at = this.claim(1 + size);
    this.view.setUint8(at, byte);
    if (size === 1) this.view.setUint8(at + 1, number);
    else if (size === 2) this.view.setUint16(at + 1, number);
    else if (size === 4) this.view.setUint32(at + 1, number);
  }

  raw(bytes) {
    const at = this.claim(bytes.length);
    this.bytes.set(bytes, at);
  }

  integer(value) {
    if (!Number.isSafeInteger(value)) {
      throw new MessagePackError("a number is an integer of at most 2⁵³");
    }
    if (value >= 0) {
      if (value < 0x80) this.head(value, 0, 0);
      else if (value < 0x100) this.head(0xcc, value, 1);
      else if (value < 0x10000) this.head(0xcd, value, 2);
      else if (value < 0x100000000) this.head(0xce, value, 4);
      else this.long(0xcf, BigInt(value));
    } else if (value >= -0x20) this.head(0x100 + value, 0, 0);
    else if (value >= -0x80) this.head(0xd0, value, 1);
    else if (value >= -0x8000) this.head(0xd1, value, 2);
    else if (value >= -0x80000000) this.head(0xd2, value, 4);
    else this.long(0xd3, BigInt(value));
  }

  long(byte, value) {
    const at = this.claim(9);
    this.view.setUint8(at, byte);
    this.view.setBigInt64(at + 1, value);
  }

  string(text) {
    if (!text.isWellFormed()) throw new MessagePackError("text holds half a character");
    const bytes = new TextEncoder().encode(text);
    if (bytes.length < 32) this.head(0xa0 | bytes.length, 0, 0);
    else this.sized([0xd9, 0xda, 0xdb], bytes.length);
    this.raw(bytes);
  }

  /** A length behind one of three heads: of 1, 2, 4 bytes. */
  sized(heads, length) {
    if (length < 0x100) this.head(heads[0], length, 1);
    else if (length < 0x10000) this.head(heads[1], length, 2);
    else this.head(heads[2], length, 4);
  }

  value(value, depth) {
    if (value === null) this.head(0xc0, 0, 0);
    else if (typeof value === "boolean") this.head(value ? 0xc3 : 0xc2, 0, 0);
    else if (typeof value === "number") this.integer(value);
    else if (typeof value === "string") this.string(value);
    else if (value instanceof Uint8Array) {
      this.sized([0xc4, 0xc5, 0xc6], value.length);
      this.raw(value);
    } else if (Array.isArray(value)) {
      if (depth >= DEPTH_MAX) throw new MessagePackError("too deep");
      if (value.length < 16) this.head(0x90 | value.length, 0, 0);
      else if (value.length < 0x10000) this.head(0xdc, value.length, 2);
      else this.head(0xdd, value.length, 4);
      for (const element of value) this.value(element, depth + 1);
    } else throw new MessagePackError(`no bytes for a ${typeof value}`);
  }
}

/**
 * @param {Value} value
 * @returns {Uint8Array} the shortest form
 * @throws {MessagePackError} for floats, maps, `undefined`, integers beyond 2⁵³, half characters
 */
export function pack(value) {
  const writer = new Writer();
  writer.value(value, 0);
  return writer.bytes.slice(0, writer.length);
}

// a byte order mark is text like any other here: without `ignoreBOM` it would vanish
const TEXT = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

class Reader {
  at = 0;

  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Where `count` bytes begin that are about to be read. */
  claim(count) {
    const at = this.at;
    if (at + count > this.bytes.length) throw new MessagePackError("cut short");
    this.at += count;
    return at;
  }

  unsigned(size) {
    const at = this.claim(size);
    if (size === 1) return this.view.getUint8(at);
    if (size === 2) return this.view.getUint16(at);
    return this.view.getUint32(at);
  }

  long(signed) {
    const at = this.claim(8);
    const number = Number(signed ? this.view.getBigInt64(at) : this.view.getBigUint64(at));
    if (!Number.isSafeInteger(number)) throw new MessagePackError("an integer beyond 2⁵³");
    return number;
  }

  raw(length) {
    const at = this.claim(length);
    return this.bytes.slice(at, at + length); // a copy: a kept body must not keep its whole frame
  }

  text(length) {
    const at = this.claim(length);
    try {
      return TEXT.decode(this.bytes.subarray(at, at + length));
    } catch {
      throw new MessagePackError("text is not UTF-8");
    }
  }

  array(length, depth) {
    if (depth >= DEPTH_MAX) throw new MessagePackError("too deep");
    // each element has a byte at least: a length that cannot be true is refused before it costs
    if (length > this.bytes.length - this.at) throw new MessagePackError("cut short");
    const elements = [];
    for (let i = 0; i < length; i += 1) elements.push(this.value(depth + 1));
    return elements;
  }

  value(depth) {
    const head = this.unsigned(1);
    if (head < 0x80) return head;
    if (head >= 0xe0) return head - 0x100;
    if (head >= 0xa0 && head < 0xc0) return this.text(head & 0x1f);
    if (head >= 0x90 && head < 0xa0) return this.array(head & 0x0f, depth);
    switch (head) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: return this.raw(this.unsigned(1));
      case 0xc5: return this.raw(this.unsigned(2));
      case 0xc6: return this.raw(this.unsigned(4));
      case 0xcc: return this.unsigned(1);
      case 0xcd: return this.unsigned(2);
      case 0xce: return this.unsigned(4);
      case 0xcf: return this.long(false);
      case 0xd0: return this.view.getInt8(this.claim(1));
      case 0xd1: return this.view.getInt16(this.claim(2));
      case 0xd2: return this.view.getInt32(this.claim(4));
      case 0xd3: return this.long(true);
      case 0xd9: return this.text(this.unsigned(1));
      case 0xda: return this.text(this.unsigned(2));
      case 0xdb: return this.text(this.unsigned(4));
      case 0xdc: return this.array(this.unsigned(2), depth);
      case 0xdd: return this.array(this.unsigned(4), depth);
      default: throw new MessagePackError("floats, maps and extensions are not of this protocol");
    }
  }
}

/**
 * @param {Uint8Array} bytes exactly one value
 * @returns {Value}
 * @throws {MessagePackError}
 */
export function unpack(bytes) {
  const reader = new Reader(bytes);
  const value = reader.value(0);
  if (reader.at !== bytes.length) throw new MessagePackError("bytes behind the value");
  return value;
}

/**
 * As `unpack`, for what is signed: refuses bytes that are not the one canonical form.
 * @param {Uint8Array} bytes
 * @returns {Value}
 * @throws {MessagePackError}
 */
export function unpackCanonical(bytes) {
  const value = unpack(bytes);
  if (!equal(pack(value), bytes)) throw new MessagePackError("not canonical");
  return value;
}
