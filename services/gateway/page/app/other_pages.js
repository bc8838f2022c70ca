/**
 * Other pages of the same citizen in this browser: what one of them allows or withdraws holds for all, and
 * every mirror must show it. A shell around a channel that nobody but this origin hears.
 */

const CHANNEL = "synchronia consent";

/**
 * @typedef {object} Told
 * @property {string} citizen hexadecimal; a page with other keys takes no notice
 * @property {"recorded"|"withdrawing"} what `withdrawing`: it was pressed just now, and is not recorded yet
 * @property {string|null} [sanctuary] hexadecimal, of a withdrawal; nil: everywhere
 */

export class OtherPages {
  #channel = "BroadcastChannel" in globalThis ? new BroadcastChannel(CHANNEL) : null;

  /** @param {(told: Told) => void} onTold */
  constructor(onTold) {
    this.#channel?.addEventListener("message", ({ data }) => onTold(data));
  }

  /** @param {Told} told */
  tell(told) {
    this.#channel?.postMessage(told);
  }

  close() {
    this.#channel?.close();
  }
}
