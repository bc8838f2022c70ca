/** A citizen's keys, `did:key` names, session tokens (EdDSA JWT, RFC 7519 and 8037). Pure but for WebCrypto. */

import { base58, base64url, concat, fromBase58, hex, utf8 } from "./bytes.js";
import { isSmallOrder, newSigner, sha256 } from "./ed25519.js";

/** A token is good for five minutes; the city takes none that lasts longer. */
export const TOKEN_LIFE_S_MAX = 300;
/** Multicodec ed25519-pub. */
const PREFIX = Uint8Array.of(0xed, 0x01);
const DID_HEAD = "did:key:z";

/**
 * Keys for a new citizen: none but the city's own records ever shows them, and the browser can keep
 * them (IndexedDB takes CryptoKeys) without being able to read them.
 * @returns {Promise<{keys: import("./session.js").Keys, next: import("./ed25519.js").Signer}>} `next` is
 *   the key after the identity key: extractable, to be written down and taken from here
 */
export async function newKeys() {
  const [identity, device, next] = await Promise.all([
    newSigner(), newSigner(), newSigner({ extractable: true }),
  ]);
  return { keys: { identity, device, nextKeyHash: await sha256(next.publicKey) }, next };
}

/**
 * @param {Uint8Array} publicKey 32 bytes
 * @returns {string} `did:key:z6Mk…`
 */
export function didOf(publicKey) {
  return DID_HEAD + base58(concat(PREFIX, publicKey));
}

/**
 * @param {string} did
 * @returns {Uint8Array} the 32-byte key
 * @throws {RangeError} unless it is the one spelling of an Ed25519 key that is not of small order
 */
export function keyOf(did) {
  if (!did.startsWith(DID_HEAD)) throw new RangeError("not a did:key");
  const raw = fromBase58(did.slice(DID_HEAD.length));
  const key = raw.slice(2);
  const fits = raw.length === 34 && raw[0] === PREFIX[0] && raw[1] === PREFIX[1];
  if (!fits || isSmallOrder(key) || didOf(key) !== did) throw new RangeError("not a did:key");
  return key;
}

/**
 * A token for one socket, signed by the citizen's device key.
 * @param {import("./ed25519.js").Signer} device
 * @param {object} socket
 * @param {string} socket.origin as `hello` says it
 * @param {Uint8Array} socket.city 32 bytes
 * @param {Uint8Array} socket.nonce 16 bytes: `hello`'s session, later that of `nonce`
 * @param {Uint8Array|null} socket.citizen 16 bytes once enrolled
 * @param {number} socket.nowMs Unix ms by the server's clock
 * @returns {Promise<string>}
 */
export async function makeToken(device, { origin, city, nonce, citizen, nowMs }) {
  const claims = {
    sub: didOf(device.publicKey),
    aud: [origin, hex(city)],
    nonce: hex(nonce),
    exp: Math.floor(nowMs / 1000) + TOKEN_LIFE_S_MAX,
  };
  if (citizen !== null) claims.cit = hex(citizen);
  const head = [{ alg: "EdDSA", typ: "JWT" }, claims]
    .map((part) => base64url(utf8(JSON.stringify(part))))
    .join(".");
  return `${head}.${base64url(await device.sign(utf8(head)))}`;
}
