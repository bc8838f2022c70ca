/** What one session sees: strands at `full`, cells at `coarse`, and what was taken from view. Pure. */

import { concat, equal, hex } from "./bytes.js";
import { sha256, signerFromSeed } from "./ed25519.js";
import { readOpening, readPolicy, verifyRecord } from "./records.js";
import { readBody } from "./sample.js";
import { judgeSeal, StrandView } from "./strand_view.js";

/** Messages that are a viewer's; all others are the session's. */
export const SEEN = new Set([
  "snapshot", "strand", "sample", "sealed window", "skipped", "ended", "released", "coarse",
  "struck", "gap", "closeness", "policy", "rung",
]);
/** How long an ended strand is kept for its key to be released: a minute after the end, and slack. */
const ENDED_KEPT_MS = 120_000;
/** As many strands as a join may say it holds. */
const HELD_MAX = 256;

class Room {
  /** @type {Map<string, StrandView>} by the strand's id in hexadecimal */
  strands = new Map();
  /** @type {Map<string, number>} pseudonym in hexadecimal → cell, 0…24 */
  cells = new Map();
  /** Whether everybody sees everybody as granted; nil until told. */
  isClose = null;
  /** Whether something was missed and the snapshot has not come yet. */
  hasGap = false;
  /** The snapshot that is coming in. */
  snapshot = null;
  hadSnapshot = false;
  policy = null;
}

/**
 * Messages in, events out (pulled with `takeEvents`); seals are judged apart (`takeChecks`, `judge`),
 * because WebCrypto answers later, and never hold up a sample or a `struck`.
 */
export class Viewer {
  /** @type {Map<string, Room>} by the sanctuary's id in hexadecimal */
  #rooms = new Map();
  /** @type {Map<string, StrandView>} every strand, ended ones too */
  #strands = new Map();
  #events = [];
  #checks = [];

  /** Events since the last call, oldest first; each has a `type`, ids are hexadecimal. */
  takeEvents() {
    return this.#events.splice(0);
  }

  /** Checks since the last call; hand each to `judge`, in this order, one after the other. */
  takeChecks() {
    return this.#checks.splice(0);
  }

  /** @param {Uint8Array} sanctuary 16 bytes; what is seen of it now */
  room(sanctuary) {
    const key = hex(sanctuary);
    if (!this.#rooms.has(key)) this.#rooms.set(key, new Room());
    return this.#rooms.get(key);
  }

  /** Forget a sanctuary, after leaving it. @param {Uint8Array} sanctuary */
  forget(sanctuary) {
    for (const key of this.room(sanctuary).strands.keys()) this.#strands.delete(key);
    this.#rooms.delete(hex(sanctuary));
  }

  /**
   * What a join says is still held, so that the snapshot can be `recovered`.
   * @param {Uint8Array} sanctuary
   * @returns {[strand: Uint8Array, lastSeq: number][]} at most 256; none after a gap
   */
  held(sanctuary) {
    const room = this.room(sanctuary);
    if (room.hasGap) return [];
    return [...room.strands.values()]
      .filter((strand) => strand.nextSeq > 0 && strand.ended === null)
      .map((strand) => [strand.id, strand.nextSeq - 1])
      .slice(0, HELD_MAX);
  }

  /**
   * @param {import("./messages.js").ServerMessage} message one of `SEEN`
   * @param {number} nowMs for how long ended strands are kept
   */
  receive(message, nowMs) {
    if (message.type === "snapshot") {
      this.#begin(message);
      return;
    }
    const coming = [...this.#rooms.values()].find((room) => room.snapshot !== null);
    this.#take(message, nowMs);
    if (coming) this.#count(coming);
  }

  #begin({ sanctuary, count, recovered }) {
    const room = this.room(sanctuary);
    const stale = new Set(room.strands.keys());
    room.snapshot = { sanctuary, left: count, recovered, stale, missed: 0 };
    room.cells.clear();
    if (count === 0) this.#end(room);
  }

  #count(room) {
    room.snapshot.left -= 1;
    if (room.snapshot.left <= 0) this.#end(room);
  }

  /**
   * `recovered` is what the city says and what one's own numbers say, both; `strands` and `pseudonyms`
   * are all that is still held, so that what is not among them can be blanked.
   */
  #end(room) {
    const { sanctuary, recovered, stale, missed } = room.snapshot;
    for (const key of stale) {
      if (room.strands.get(key).ended === null) this.#drop(room, key);
    }
    const isReturn = room.hadSnapshot;
    Object.assign(room, { snapshot: null, hasGap: false, hadSnapshot: true });
    this.#tell("snapshot", {
      sanctuary: hex(sanctuary), isReturn, recovered: recovered && missed === 0, missed,
      strands: [...room.strands.keys()], pseudonyms: [...room.cells.keys()],
    });
  }

  #take(message, nowMs) {
    const { type } = message;
    if (type === "strand") this.#strand(message);
    else if (type === "coarse") this.#coarse(message);
    else if (type === "struck") this.#struck(message);
    else if (type === "gap") {
      this.room(message.sanctuary).hasGap = true;
      this.#tell("gap", { sanctuary: hex(message.sanctuary) });
    } else if (type === "closeness") {
      this.room(message.sanctuary).isClose = message.close;
      this.#tell("closeness", { sanctuary: hex(message.sanctuary), close: message.close });
    } else if (type === "policy") {
      const policy = readPolicy(message.policy);
      this.room(message.sanctuary).policy = policy;
      this.#tell("policy", { sanctuary: hex(message.sanctuary), policy });
    } else if (type === "rung") {
      this.#tell("rung", { rung: message.rung });
    } else {
      const strand = this.#strands.get(hex(message.strand));
      if (strand !== undefined) this.#ofStrand(strand, message, nowMs); // else it was struck
    }
  }

  #strand(message) {
    const room = this.room(message.sanctuary);
    const key = hex(message.strand);
    const sample = message.body === null ? null : readBody(message.body);
    let strand = room.strands.get(key);
    room.snapshot?.stale.delete(key);
    if (strand === undefined) {
      strand = new StrandView(message, readOpening(message.opening[0]));
      room.strands.set(key, strand);
      this.#strands.set(key, strand);
      this.#checks.push({ strand, opening: message.opening });
      if (room.snapshot !== null && room.hadSnapshot) room.snapshot.missed += message.nextSeq;
      if (sample !== null) strand.hold(sample.seq, message.body);
    } else {
      const missed = strand.rejoin(message);
      if (missed > 0 && sample !== null) strand.hold(sample.seq, message.body);
      if (room.snapshot !== null) room.snapshot.missed += missed;
    }
    if (message.seal !== null) this.#checks.push(strand.check(message.seal, { known: true }));
    this.#tell("strand", { ...idsOf(strand), name: strand.opening.name, sample });
  }

  #ofStrand(strand, message, nowMs) {
    if (message.type === "sample") {
      const sample = readBody(message.body);
      if (strand.take(sample.seq, message.body)) this.#tell("sample", { ...idsOf(strand), sample });
    } else if (message.type === "sealed window") {
      this.#checks.push(strand.check(message.record));
    } else if (message.type === "skipped") {
      const { first, last, reason } = message;
      if (last < first) return;
      strand.skip(first, last);
      this.#tell("skipped", { ...idsOf(strand), first, last, reason });
    } else if (message.type === "ended") {
      const { reason, total, unsealedFrom } = message;
      strand.ended = { reason, total, atMs: nowMs };
      strand.unsealedFrom = unsealedFrom ?? strand.unsealedFrom;
      this.#checks.push({ strand, end: true });
      this.#expire(nowMs);
    } else if (message.type === "released") {
      this.#checks.push({ strand, seed: message.seed });
    }
  }

  #coarse({ sanctuary, tick, pseudonym, cell }) {
    const { cells } = this.room(sanctuary);
    if (cell === null) cells.delete(hex(pseudonym));
    else cells.set(hex(pseudonym), cell);
    this.#tell("coarse", { sanctuary: hex(sanctuary), tick, pseudonym: hex(pseudonym), cell });
  }

  #struck({ sanctuary, citizen, pseudonym }) {
    const room = this.room(sanctuary);
    if (citizen !== null) {
      for (const [key, strand] of room.strands) {
        if (equal(strand.citizen, citizen)) this.#drop(room, key);
      }
    }
    if (pseudonym !== null) room.cells.delete(hex(pseudonym));
    this.#tell("struck", {
      sanctuary: hex(sanctuary),
      citizen: citizen && hex(citizen),
      pseudonym: pseudonym && hex(pseudonym),
    });
  }

  /**
   * Judge one check. What was struck meanwhile stays silent.
   * @param {object} check out of `takeChecks`
   * @param {Uint8Array} city 32 bytes
   */
  async judge(check, city) {
    const { strand } = check;
    const here = () => this.#strands.get(hex(strand.id)) === strand;
    if (check.end) {
      if (here()) this.#finish(strand);
    } else if (check.opening) {
      const signed = await verifyRecord(strand.opening.device, "opening", city, check.opening);
      const named = equal(await sha256(check.opening[0]), strand.id);
      const fits = equal(concat(strand.opening.sanctuary, strand.opening.citizen),
        concat(strand.sanctuary, strand.citizen));
      if (signed && named && fits) return;
      strand.isFalse = true;
      if (here()) this.#tell("false opening", idsOf(strand));
    } else if (check.seed) {
      const { publicKey } = await signerFromSeed(check.seed);
      strand.isReleased ||= equal(publicKey, strand.opening.strandKey);
      if (here() && strand.isReleased) this.#tell("released", idsOf(strand));
    } else {
      const judgement = await judgeSeal(check, city);
      const window = here() ? strand.settle(check, judgement) : null;
      if (window !== null) this.#tell("window", { ...idsOf(strand), ...window });
    }
  }

  #finish(strand) {
    const window = strand.finish();
    if (window !== null) this.#tell("window", { ...idsOf(strand), ...window });
    const { reason, total } = strand.ended;
    this.#tell("ended", { ...idsOf(strand), reason, total, isAccounted: strand.isAccounted });
  }

  #drop(room, key) {
    room.strands.delete(key);
    this.#strands.delete(key);
  }

  #expire(nowMs) {
    for (const room of this.#rooms.values()) {
      for (const [key, { ended }] of room.strands) {
        if (ended !== null && nowMs - ended.atMs > ENDED_KEPT_MS) this.#drop(room, key);
      }
    }
  }

  #tell(type, fields) {
    this.#events.push({ type, ...fields });
  }
}

/** @param {StrandView} strand */
function idsOf(strand) {
  return {
    sanctuary: hex(strand.sanctuary), strand: hex(strand.id), citizen: hex(strand.citizen),
  };
}
