/** One's own place in a sanctuary: the seat, and the strand one speaks on. Records of it as data. */

import { sha256 } from "./ed25519.js";
import { packOpening, readPolicy, signRecord, STRAND_KEY_PUBLISH_AFTER_MS } from "./records.js";
import { StrandWriter } from "./strand_writer.js";

/**
 * The id of a sanctuary that has a slug.
 * @param {string} slug
 * @returns {Promise<Uint8Array>} 16 bytes
 */
export async function sanctuaryOf(slug) {
  return (await sha256(new TextEncoder().encode(`synchronia/sanctuary/${slug}`))).slice(0, 16);
}

export class Place {
  isSeated = false;
  /** @type {ReturnType<typeof readPolicy>|null} */
  policy = null;
  policyHash = null;
  challenge = null;
  /** Whether one wants to speak here, and by which name; nil: only to listen. */
  voice = null;
  /** @type {StrandWriter|null} */
  writer = null;
  /** Whether an `open` waits for its answer. */
  isOpening = false;
  /** When to join again after a passing refusal: Unix ms, nil for not at all. */
  againMs = null;

  /** @param {Uint8Array} sanctuary 16 bytes */
  constructor(sanctuary) {
    this.sanctuary = sanctuary;
  }

  /** `joined`, or a changed policy. */
  take({ policy, policyHash }) {
    this.policy = readPolicy(policy);
    this.policyHash = policyHash;
  }

  /** The socket is gone: the seat with it; the strand outlives it for 10 s. */
  disconnected() {
    this.isSeated = false;
    this.challenge = null;
    this.isOpening = false;
    this.againMs = null;
    if (this.writer !== null) this.writer.isOpen = false;
  }

  /**
   * A strand with a key of its own.
   * @param {object} of
   * @param {import("./ed25519.js").Signer} of.device
   * @param {import("./ed25519.js").Signer} of.signer the strand's key, extractable
   * @param {Uint8Array} of.city
   * @param {Uint8Array} of.citizen
   * @param {number} of.consentEpoch
   * @param {number} of.tMs
   * @returns {Promise<StrandWriter>}
   */
  async newWriter({ device, signer, city, citizen, consentEpoch, tMs }) {
    const { sanctuary, policyHash, challenge } = this;
    const payload = packOpening({
      sanctuary, citizen, policyHash, strandKey: signer.publicKey, device: device.publicKey,
      consentEpoch, challenge, tMs, name: this.voice.name,
    });
    const [opening, strand] = await Promise.all([
      signRecord(device, "opening", city, payload), sha256(payload),
    ]);
    this.writer = new StrandWriter({ sanctuary, city, challenge, opening, strand, signer });
    return this.writer;
  }

  /**
   * The strand has ended; in a commons or circle its key is to be published a minute later.
   * @param {number} nowMs
   * @returns {{sanctuary: Uint8Array, strand: Uint8Array, signer: import("./ed25519.js").Signer,
   *            atMs: number}|null}
   */
  end(nowMs) {
    const { writer, sanctuary } = this;
    this.writer = null;
    this.isOpening = false;
    if (writer === null || this.policy?.kind === "stage") return null;
    const { strand, signer } = writer;
    return { sanctuary, strand, signer, atMs: nowMs + STRAND_KEY_PUBLISH_AFTER_MS };
  }
}
