/** What the address says: `?watch=<stage>` or `?room=<room>`, by slug or by id. Pure but for a hash. */

import { fromHex } from "../client/bytes.js";
import { hasWebCrypto } from "../client/ed25519.js";
import { sanctuaryOf } from "../client/connection.js";

const ID = /^[0-9a-f]{32}$/;

/**
 * @param {string} search of the address, with its question mark
 * @returns {{watch: string|null, room: string|null}} names as they stand there
 */
export function readAddress(search) {
  const asked = new URLSearchParams(search);
  return { watch: asked.get("watch") || null, room: asked.get("room") || null };
}

/** Whether this browser can find it: slugs are hashed, ids are not. @param {string} name */
export function mayName(name) {
  return hasWebCrypto || ID.test(name);
}

/**
 * @param {string} name a slug, or an id in hexadecimal
 * @returns {Promise<Uint8Array>} 16 bytes
 */
export async function sanctuaryNamed(name) {
  return ID.test(name) ? fromHex(name) : sanctuaryOf(name);
}
