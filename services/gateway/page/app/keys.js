/**
 * Where this browser keeps a citizen: IndexedDB, which takes keys without being able to show them.
 *
 * Two stores: `self` (one row: keys, citizen id, name, the seed until its words are written down) and
 * `strands` (keys of strands that are not published yet). Without a store that works, all is kept in
 * memory and lost with the page, which the page then says.
 */

import { Signer } from "../client/ed25519.js";

const DATABASE = "synchronia";
const VERSION = 1;
const SELF = "self";
const STRANDS = "strands";
/** Some browsers never answer (a known fault of Safari's): then nothing can be kept, and the page goes on. */
const OPEN_MS_MAX = 3000;

/**
 * @typedef {object} Kept
 * @property {CryptoKey} identityKey
 * @property {Uint8Array} identity public
 * @property {CryptoKey} deviceKey
 * @property {Uint8Array} device public
 * @property {Uint8Array} nextKeyHash
 * @property {Uint8Array|null} citizen 16 bytes once enrolled
 * @property {Uint8Array|null} seed until its words are written down
 * @property {string} name "" for none
 * @property {Uint8Array[]} followed whom one follows, in every room; at most 64
 * @property {object[]} withdrawn grants that were withdrawn last, to be offered again
 */

/** @returns {Promise<any>} of an IndexedDB request */
function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Rows by name; in memory if the browser gives nothing better. */
class Rows {
  #database;
  #memory = new Map();

  constructor(database) {
    this.#database = database;
  }

  get isKept() {
    return this.#database !== null;
  }

  #key(store, key) {
    return `${store}/${key}`;
  }

  async #with(store, mode, act) {
    return done(act(this.#database.transaction(store, mode).objectStore(store)));
  }

  async get(store, key) {
    if (!this.isKept) return this.#memory.get(this.#key(store, key));
    return this.#with(store, "readonly", (rows) => rows.get(key));
  }

  async all(store) {
    if (this.isKept) return this.#with(store, "readonly", (rows) => rows.getAll());
    return [...this.#memory].filter(([key]) => key.startsWith(`${store}/`)).map(([, row]) => row);
  }

  async put(store, key, row) {
    if (!this.isKept) this.#memory.set(this.#key(store, key), row);
    else await this.#with(store, "readwrite", (rows) => rows.put(row, key));
  }

  /** Other fields of a row than these stay as another page has kept them; of no row nothing is made. */
  async change(store, key, changes) {
    if (!this.isKept) {
      const row = this.#memory.get(this.#key(store, key));
      if (row !== undefined) this.#memory.set(this.#key(store, key), { ...row, ...changes });
      return;
    }
    const rows = this.#database.transaction(store, "readwrite").objectStore(store);
    const row = await done(rows.get(key));
    if (row !== undefined) await done(rows.put({ ...row, ...changes }, key));
  }

  async drop(store, key) {
    if (!this.isKept) this.#memory.delete(this.#key(store, key));
    else await this.#with(store, "readwrite", (rows) => rows.delete(key));
  }
}

/** @returns {Promise<Rows>} */
async function openRows() {
  try {
    const request = indexedDB.open(DATABASE, VERSION);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(SELF);
      request.result.createObjectStore(STRANDS);
    };
    return new Rows(await within(OPEN_MS_MAX, request));
  } catch {
    return new Rows(null); // private windows, browsers told to keep nothing, and those that never answer
  }
}

/** A database that comes later is closed, so that it stands in no other page's way. */
async function within(waitMs, request) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => {
      request.addEventListener("success", () => request.result.close());
      reject(new Error(`no answer within ${waitMs} ms`));
    }, waitMs);
  });
  try {
    return await Promise.race([done(request), late]);
  } finally {
    clearTimeout(timer);
  }
}

export class Keystore {
  #rows;
  /** @type {Kept|null} */
  kept = null;
  /** Whether the browser promised not to throw it away by itself. */
  isPersistent = false;

  constructor(rows) {
    this.#rows = rows;
  }

  /** @returns {Promise<Keystore>} with what an earlier visit left */
  static async open() {
    const store = new Keystore(await openRows());
    store.kept = (await store.#rows.get(SELF, SELF)) ?? null;
    store.isPersistent = store.#rows.isKept && ((await navigator.storage?.persisted?.()) ?? false);
    return store;
  }

  /** The keys as the client wants them. @returns {import("../client/session.js").Keys} */
  get keys() {
    const { identityKey, identity, deviceKey, device, nextKeyHash } = this.kept;
    return {
      identity: new Signer(identityKey, identity), device: new Signer(deviceKey, device), nextKeyHash,
    };
  }

  /**
   * Keep new keys, or those that words brought back.
   * @param {import("../client/session.js").Keys} keys
   * @param {{seed?: Uint8Array|null}} [options] seed: kept until its words are written down
   */
  async take(keys, { seed = null } = {}) {
    this.kept = {
      identityKey: keys.identity.privateKey, identity: keys.identity.publicKey,
      deviceKey: keys.device.privateKey, device: keys.device.publicKey,
      nextKeyHash: keys.nextKeyHash, citizen: null, seed, name: "", followed: [], withdrawn: [],
    };
    await this.#write((rows) => rows.put(SELF, SELF, this.kept));
    this.isPersistent = this.#rows.isKept && ((await navigator.storage?.persist?.()) ?? false);
  }

  /** @param {Partial<Kept>} changes */
  async keep(changes) {
    this.kept = { ...this.kept, ...changes };
    await this.#write((rows) => rows.change(SELF, SELF, changes));
  }

  /** What another page has kept meanwhile; nothing if it has forgotten all. */
  async refresh() {
    const row = await this.#rows.get(SELF, SELF);
    this.kept = { ...this.kept, ...row };
  }

  async #write(act) {
    try {
      await act(this.#rows);
    } catch {
      this.#rows = new Rows(null); // no room, or keys that this browser cannot keep
      this.isPersistent = false;
    }
  }

  /** Forget everything that is kept here of this citizen. */
  async forget() {
    this.kept = null;
    await this.#rows.drop(SELF, SELF);
  }

  // ── keys of strands ───────────────────────────────────────────────────────────────────────────

  /** Ends of the locks that this page holds, by strand. @type {Map<string, () => void>} */
  #locks = new Map();

  /**
   * A strand is open whose key must be published a minute after its end, though this page may be gone
   * by then. While this page lives it holds a lock, so that no other page takes the strand for left.
   * @param {{strand: string, sanctuary: Uint8Array, signer: Signer}} of strand in hexadecimal
   */
  async keepStrand({ strand, sanctuary, signer }) {
    if (!this.#locks.has(strand)) this.#hold(strand);
    const row = { strand, sanctuary, key: signer.privateKey, publicKey: signer.publicKey };
    await this.#rows.put(STRANDS, strand, row).catch(() => {}); // kept nowhere: then it is not published
  }

  #hold(strand) {
    const gone = new Promise((resolve) => this.#locks.set(strand, resolve));
    navigator.locks?.request(lockOf(strand), () => gone);
  }

  /** Its key was published. @param {string} strand hexadecimal */
  async dropStrand(strand) {
    await this.#rows.drop(STRANDS, strand).catch(() => {});
    this.#locks.get(strand)?.();
    this.#locks.delete(strand);
  }

  /**
   * Strands of pages that are gone: each is given to `publish`, which tells by `dropStrand` when it is
   * done. Without locks nobody knows whether a page is gone, and nothing is published.
   * @param {(of: {strand: string, sanctuary: Uint8Array, signer: Signer}) => void} publish
   */
  async takeLeft(publish) {
    for (const { strand, sanctuary, key, publicKey } of await this.#rows.all(STRANDS)) {
      await navigator.locks?.request(lockOf(strand), { ifAvailable: true }, (lock) => {
        if (lock === null) return;
        publish({ strand, sanctuary, signer: new Signer(key, publicKey) });
      });
    }
  }
}

const lockOf = (strand) => `synchronia strand ${strand}`;
