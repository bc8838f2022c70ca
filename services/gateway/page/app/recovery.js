/**
 * A citizen's keys in 24 words.
 *
 * One seed of 32 bytes, written down as BIP-39 does (256 bits, 8 bits of checksum, 24 words of 11 bits),
 * gives the identity key, the next identity key and the first device key, by HKDF-SHA-256 (RFC 5869).
 * Nothing here asks for time; randomness comes in.
 */

import { utf8 } from "../client/bytes.js";
import { sha256, signerFromSeed } from "../client/ed25519.js";

export const SEED_BYTES = 32;
export const WORDS_COUNT = 24;
const WORD_BITS = 11;

/** Words that are not a seed: which one, or that together they do not fit. */
export class WordsError extends Error {
  name = "WordsError";

  /** @param {number|null} at the first word that is not in the list, from 0 */
  constructor(message, at = null) {
    super(message);
    this.at = at;
  }
}

const bitsOf = (bytes) => Array.from(bytes, (byte) => byte.toString(2).padStart(8, "0")).join("");

/**
 * @param {Uint8Array} seed 32 bytes
 * @param {string[]} list 2048 words
 * @returns {Promise<string[]>} 24 words
 */
export async function wordsOf(seed, list) {
  const bits = bitsOf(seed) + bitsOf((await sha256(seed)).subarray(0, 1));
  return Array.from({ length: WORDS_COUNT }, (_, i) =>
    list[Number.parseInt(bits.slice(i * WORD_BITS, (i + 1) * WORD_BITS), 2)]);
}

/**
 * @param {string} text words with anything but letters between them; four letters of each are enough
 * @param {string[]} list 2048 words
 * @returns {Promise<Uint8Array>} 32 bytes
 * @throws {WordsError}
 */
export async function seedOf(text, list) {
  const words = text.toLowerCase().match(/[a-z]+/g) ?? [];
  const numbers = words.map((word, at) => {
    const exact = list.indexOf(word);
    const number = exact < 0 && word.length >= 4
      ? list.findIndex((each) => each.slice(0, 4) === word.slice(0, 4) && each.startsWith(word))
      : exact;
    if (number < 0) throw new WordsError(`Word ${at + 1} is not in the list.`, at);
    return number;
  });
  if (words.length !== WORDS_COUNT) {
    throw new WordsError(`These are ${words.length} words. There must be ${WORDS_COUNT}.`);
  }
  const bits = numbers.map((number) => number.toString(2).padStart(WORD_BITS, "0")).join("");
  const bytes = Uint8Array.from({ length: SEED_BYTES + 1 }, (_, i) =>
    Number.parseInt(bits.slice(8 * i, 8 * i + 8), 2));
  const seed = bytes.slice(0, SEED_BYTES);
  if ((await sha256(seed))[0] !== bytes[SEED_BYTES]) {
    throw new WordsError("The words do not fit together. Is one of them another, or in another place?");
  }
  return seed;
}

/** 32 bytes of one purpose out of the seed. */
async function derived(seed, purpose) {
  const key = await crypto.subtle.importKey("raw", seed, "HKDF", false, ["deriveBits"]);
  const of = {
    name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info: utf8(`synchronia/1/words/${purpose}`),
  };
  return new Uint8Array(await crypto.subtle.deriveBits(of, key, 8 * SEED_BYTES));
}

/**
 * The keys of a seed, always the same; none of them can be read out of the browser again.
 * @param {Uint8Array} seed 32 bytes
 * @returns {Promise<import("../client/session.js").Keys>}
 */
export async function keysOf(seed) {
  const [identity, device, next] = await Promise.all(["identity", "device", "next"].map(
    async (purpose) => signerFromSeed(await derived(seed, purpose)),
  ));
  return { identity, device, nextKeyHash: await sha256(next.publicKey) };
}
