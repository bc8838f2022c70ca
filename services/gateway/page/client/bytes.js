/** Bytes and their spellings: hexadecimal, base64url without padding, base58btc. Pure. */

const HEX = Array.from({ length: 256 }, (_, value) => value.toString(16).padStart(2, "0"));
const BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/**
 * Lower-case hexadecimal; also the form in which ids are keys of a `Map`.
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function hex(bytes) {
  let text = "";
  for (const byte of bytes) text += HEX[byte];
  return text;
}

/**
 * @param {string} text an even number of hexadecimal digits
 * @returns {Uint8Array}
 * @throws {RangeError} for anything else
 */
export function fromHex(text) {
  if (text.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(text)) throw new RangeError("not hexadecimal");
  return Uint8Array.from({ length: text.length / 2 }, (_, i) =>
    Number.parseInt(text.slice(2 * i, 2 * i + 2), 16),
  );
}

/**
 * @param {Uint8Array} bytes
 * @returns {string} RFC 4648, section 5, without padding
 */
export function base64url(bytes) {
  const signs = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  return btoa(signs).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/**
 * @param {string} text
 * @returns {Uint8Array}
 * @throws {RangeError} unless it is base64url without padding
 */
export function fromBase64url(text) {
  if (!/^[\w-]*$/.test(text) || text.length % 4 === 1) throw new RangeError("not base64url");
  const signs = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(signs, (sign) => sign.charCodeAt(0));
}

/**
 * base58btc of bytes whose first is not zero; a multicodec prefix sees to that.
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function base58(bytes) {
  let number = BigInt(`0x${hex(bytes)}`);
  let text = "";
  while (number > 0n) {
    text = BASE58[Number(number % 58n)] + text;
    number /= 58n;
  }
  return text;
}

/**
 * @param {string} text at most 64 signs
 * @returns {Uint8Array} without leading zero bytes
 * @throws {RangeError} for signs outside the alphabet
 */
export function fromBase58(text) {
  if (text.length > 64) throw new RangeError("not base58");
  let number = 0n;
  for (const sign of text) {
    const value = BASE58.indexOf(sign);
    if (value < 0) throw new RangeError("not base58");
    number = number * 58n + BigInt(value);
  }
  const digits = number.toString(16);
  return number === 0n ? new Uint8Array() : fromHex(digits.length % 2 ? `0${digits}` : digits);
}

/**
 * @param {...Uint8Array} parts
 * @returns {Uint8Array}
 */
export function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * @param {Uint8Array} one
 * @param {Uint8Array} other
 * @returns {boolean}
 */
export function equal(one, other) {
  return one.length === other.length && one.every((byte, i) => byte === other[i]);
}

/**
 * @param {string} text
 * @returns {Uint8Array} UTF-8
 */
export function utf8(text) {
  return new TextEncoder().encode(text);
}
