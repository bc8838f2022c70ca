/**
 * Ed25519 (RFC 8032) and SHA-256, both by WebCrypto, which exists on localhost and https only.
 *
 * Not every WebCrypto refuses points of small order, for which one signature fits many messages, and
 * second spellings of a key; both are refused here, as the city does.
 */

import { base64url, concat, fromBase64url, fromHex, hex } from "./bytes.js";

const subtle = globalThis.crypto?.subtle;

/** Encodings of the points of small order, sign bit cleared (as libsodium lists them). */
const SMALL_ORDER = new Set([
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]);
/** PKCS #8 (RFC 8410) up to the 32-byte seed. */
const PKCS8_HEAD = fromHex("302e020100300506032b657004220420");

/** Whether anything can be signed or judged here; browsers give WebCrypto to safe origins only. */
export const hasWebCrypto = subtle !== undefined;

/** @returns {Promise<boolean>} whether this place has WebCrypto with Ed25519 */
export async function hasEd25519() {
  if (subtle === undefined) return false;
  try {
    await subtle.generateKey("Ed25519", false, ["sign", "verify"]);
    return true;
  } catch {
    return false;
  }
}

/**
 * @param {Uint8Array} bytes
 * @returns {Promise<Uint8Array>} 32 bytes
 */
export async function sha256(bytes) {
  return new Uint8Array(await subtle.digest("SHA-256", bytes));
}

/**
 * What a seal says of one body.
 * @param {Uint8Array} body
 * @returns {Promise<Uint8Array>} the first 16 bytes of its SHA-256
 */
export async function bodyHash(body) {
  return (await sha256(body)).slice(0, 16);
}

/**
 * @param {Uint8Array} point 32 bytes
 * @returns {boolean} whether it is one of the points under which any signature may verify
 */
export function isSmallOrder(point) {
  const y = Uint8Array.from(point);
  y[31] &= 0x7f;
  return SMALL_ORDER.has(hex(y));
}

/** Whether a point's y lies below 2²⁵⁵ − 19: else it is a second spelling of another point. */
function isReduced(point) {
  const top = (point[31] & 0x7f) === 0x7f && point.subarray(1, 31).every((byte) => byte === 0xff);
  return !(top && point[0] >= 0xed);
}

/**
 * @param {Uint8Array} publicKey 32 bytes
 * @param {Uint8Array} message
 * @param {Uint8Array} signature 64 bytes
 * @returns {Promise<boolean>} never throws: what cannot be a key or a signature does not verify
 */
export async function verify(publicKey, message, signature) {
  if (publicKey.length !== 32 || signature.length !== 64) return false;
  const r = signature.subarray(0, 32);
  if (isSmallOrder(publicKey) || !isReduced(publicKey) || isSmallOrder(r)) return false;
  try {
    const key = await subtle.importKey("raw", publicKey, "Ed25519", false, ["verify"]);
    return await subtle.verify("Ed25519", key, signature, message);
  } catch (error) {
    // WebCrypto's names for "these bytes are no point": anything else is a fault of ours
    if (error instanceof DOMException) return false;
    throw error;
  }
}

/** A private key and its public half; the private half stays in WebCrypto. */
export class Signer {
  #key;

  /**
   * @param {CryptoKey} privateKey may be one kept in IndexedDB
   * @param {Uint8Array} publicKey 32 bytes
   */
  constructor(privateKey, publicKey) {
    this.#key = privateKey;
    this.publicKey = publicKey;
  }

  /** A key for the page to keep; a browser stores it without ever showing it. */
  get privateKey() {
    return this.#key;
  }

  /**
   * @param {Uint8Array} message
   * @returns {Promise<Uint8Array>} 64 bytes
   */
  async sign(message) {
    return new Uint8Array(await subtle.sign("Ed25519", this.#key, message));
  }

  /**
   * The 32-byte seed, for publishing an ended strand's key.
   * @throws {DOMException} for a key that is not extractable
   */
  async seed() {
    return fromBase64url((await subtle.exportKey("jwk", this.#key)).d);
  }
}

/**
 * @param {{extractable?: boolean}} [options] extractable for strand keys alone, which are published
 * @returns {Promise<Signer>}
 */
export async function newSigner({ extractable = false } = {}) {
  const pair = await subtle.generateKey("Ed25519", extractable, ["sign", "verify"]);
  return new Signer(pair.privateKey, new Uint8Array(await subtle.exportKey("raw", pair.publicKey)));
}

/**
 * The key of a seed: for a recovery key, and to tell whose a published seed is.
 * @param {Uint8Array} seed 32 bytes
 * @param {{extractable?: boolean}} [options]
 * @returns {Promise<Signer>}
 */
export async function signerFromSeed(seed, { extractable = false } = {}) {
  const open = await subtle.importKey("pkcs8", concat(PKCS8_HEAD, seed), "Ed25519", true, ["sign"]);
  const { x } = await subtle.exportKey("jwk", open);
  const jwk = { kty: "OKP", crv: "Ed25519", d: base64url(seed), x };
  const key = extractable
    ? open
    : await subtle.importKey("jwk", jwk, "Ed25519", false, ["sign"]);
  return new Signer(key, fromBase64url(x));
}
