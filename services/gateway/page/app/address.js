/** What the address says: `?watch=<stage>` or `?room=<room>`, by slug or by id. Pure but for a hash. */

import { fromHex } from "../client/bytes.js";
import { sanctuaryOf } from "../client/connection.js";

const ID = /^[0-9a-f]{32}$/;

/**
 * @param {string} search of the address, with its question mark
 * @returns {{watch: string|null, room: string|null}} names as they stand there
 */
export function readAddress(search) {
  const asked = new URLSearchParams(search);
  return { watch: asked.get("watch"), room: asked.get("room") };
}

/**
 * @param {string} name a slug, or an id in hexadecimal
 * @returns {Promise<Uint8Array>} 16 bytes
 */
export async function sanctuaryNamed(name) {
  return ID.test(name) ? fromHex(name) : sanctuaryOf(name);
}
