/** One's places, strands and follows: join, open, speak, seal, close, release. Time comes in as Unix ms. */

import { equal, hex } from "./bytes.js";
import { ASK_AGAIN_MS } from "./closes.js";
import { Follows } from "./follows.js";
import { say } from "./messages.js";
import { packJoin, signRecord } from "./records.js";
import { Place } from "./place.js";

export class Voices {
  /** @type {Map<string, Place>} by sanctuary in hexadecimal */
  places = new Map();
  /** Ended strands whose keys are to be published. */
  #releases = [];

  /** @param {import("./session.js").Session} session whose socket, keys and clock these are */
  constructor(session) {
    this.session = session;
    this.follows = new Follows(session);
  }

  #place(sanctuary) {
    return this.places.get(hex(sanctuary));
  }

  #speaking(strand) {
    return [...this.places.values()].find((place) => place.writer?.is(strand));
  }

  disconnected() {
    for (const place of this.places.values()) place.disconnected();
    this.follows.disconnected();
  }

  // ── places ────────────────────────────────────────────────────────────────────────────────────

  async settle(nowMs) {
    for (const place of this.places.values()) await this.#join(place, nowMs);
  }

  async join(sanctuary, nowMs) {
    if (this.#place(sanctuary) !== undefined) return;
    const place = new Place(sanctuary);
    this.places.set(hex(sanctuary), place);
    await this.#join(place, nowMs);
  }

  async #join(place, nowMs) {
    const { session } = this;
    place.againMs = null;
    if (!session.isSettled) return; // joined with the rest, once welcome
    const { sanctuary } = place;
    const { device } = session.keys;
    const payload = packJoin({
      sanctuary, session: session.hello.session, gateway: session.hello.gateway,
      citizen: session.citizen, device: device.publicKey, tMs: session.cityMs(nowMs),
    });
    const record = await signRecord(device, "join", session.hello.city, payload);
    const ref = session.ask("join", { place });
    session.say(say.join(ref, sanctuary, record, session.viewer.held(sanctuary)));
  }

  /** Close one's strand here, then go. */
  async leave(sanctuary, nowMs) {
    const place = this.#place(sanctuary);
    if (place === undefined) return;
    await this.hush(sanctuary, nowMs);
    this.#ended(place, "left", nowMs);
    this.places.delete(hex(sanctuary));
    this.session.viewer.forget(sanctuary);
    this.follows.forget(sanctuary);
    if (this.session.isSettled) {
      this.session.say(say.leave(this.session.ask("leave"), sanctuary));
    }
  }

  async joined(message, nowMs) {
    const place = this.#place(message.sanctuary);
    if (place === undefined) return;
    place.take(message);
    place.isSeated = true;
    this.session.tell("joined", { sanctuary: hex(message.sanctuary), policy: place.policy });
    await this.#open(place, nowMs);
    await this.follows.joined(message, nowMs);
  }

  async challenge({ sanctuary, challenge, reopen }, nowMs) {
    const place = this.#place(sanctuary);
    if (place === undefined) return;
    place.challenge = challenge;
    const isOther = place.writer !== null && !equal(place.writer.challenge, challenge);
    if (reopen || isOther) this.#ended(place, "interrupted", nowMs);
    await this.#open(place, nowMs);
  }

  async policy(message, nowMs) {
    const place = this.#place(message.sanctuary);
    if (place === undefined) return;
    place.take(message);
    this.#ended(place, "interrupted", nowMs);
    await this.#open(place, nowMs);
  }

  /**
   * A join or an opening was refused. What passes is tried again; what does not ends the wish.
   * @param {{what: string, of: {place: Place, writer?: object}}} asked
   */
  refused({ what, of }, reason, nowMs) {
    const { place, writer } = of;
    if (what === "open" && place.writer !== writer) return; // of a strand that is over
    if (what === "open" && reason !== "not ready") this.#ended(place, "interrupted", nowMs);
    const waitMs = ASK_AGAIN_MS[reason];
    if (waitMs !== undefined) place.againMs = nowMs + waitMs;
    else if (what === "open") place.voice = null;
  }

  // ── strands ───────────────────────────────────────────────────────────────────────────────────

  async speak(sanctuary, name, nowMs) {
    const place = this.#place(sanctuary);
    if (place === undefined) throw new RangeError("join the sanctuary first");
    place.voice = { name };
    await this.#open(place, nowMs);
  }

  /** The strand one wants, or the one that is still to be closed, on this socket. */
  async #open(place, nowMs) {
    const { session } = this;
    if (!session.isSettled || !place.isSeated || place.challenge === null || place.isOpening) return;
    if (place.writer === null && place.voice === null) return;
    if (place.writer?.isOpen) return;
    const city = session.hello.city;
    const writer = place.writer ?? await place.newWriter({
      device: session.keys.device, signer: await session.strandSigner(), city,
      citizen: session.citizen, consentEpoch: session.consent.counter, tMs: session.cityMs(nowMs),
    });
    place.isOpening = true;
    session.say(say.open(session.ask("open", { place, writer }), place.sanctuary, writer.opening));
  }

  async opened({ strand, nextSeq, nextWindow }) {
    const place = this.#speaking(strand);
    if (place === undefined || place.writer.isOpen) return;
    const { writer, sanctuary } = place;
    place.isOpening = false;
    for (const { bodies, window } of writer.missing(nextSeq, nextWindow)) {
      if (bodies.length > 0) this.#samples(place, bodies);
      if (window !== null) await this.#seal(place, window);
    }
    writer.isOpen = true;
    const { signer } = writer;
    this.session.tell("opened", { sanctuary: hex(sanctuary), strand: hex(strand), nextSeq, signer });
  }

  /** @returns {Promise<number|null>} the sample's number; nil while no strand is open */
  async feel(sanctuary, feeling, nowMs) {
    const place = this.#place(sanctuary);
    const writer = place?.writer;
    if (!writer?.isOpen || writer.isClosing) return null;
    const tMs = this.session.cityMs(nowMs);
    if (writer.isDue(tMs)) await this.#seal(place, writer.cut(tMs));
    const seq = writer.nextSeq;
    this.#samples(place, [writer.add(feeling, tMs, this.session.random(8))]);
    if (writer.isFull) await this.#seal(place, writer.cut(tMs));
    return seq;
  }

  #samples({ sanctuary, writer }, bodies) {
    const { session } = this;
    session.say(say.samples(sanctuary, writer.strand, session.consent.epoch, bodies));
  }

  async #seal({ sanctuary, writer }, window) {
    this.session.say(say.seal(sanctuary, writer.strand, await window.sealed));
  }

  /** The closing seal: no number follows, and no new strand. */
  async hush(sanctuary, nowMs) {
    const place = this.#place(sanctuary);
    if (place === undefined) return;
    place.voice = null;
    if (place.writer === null || place.writer.isClosing) return;
    const window = place.writer.cut(this.session.cityMs(nowMs), { closing: true });
    if (place.writer.isOpen) await this.#seal(place, window);
  }

  async sealed({ strand, window, admitted }, nowMs) {
    const place = this.#speaking(strand);
    if (place === undefined) return;
    this.session.tell("sealed", { strand: hex(strand), window, admitted });
    if (!place.writer.acknowledge(window)) return;
    this.#ended(place, "closed", nowMs);
    await this.#open(place, nowMs); // who spoke again while it was closing
  }

  async sealWanted({ strand, window }, nowMs) {
    const place = this.#speaking(strand);
    const wanted = place?.writer.wanted(window, this.session.cityMs(nowMs));
    if (wanted) await this.#seal(place, wanted);
  }

  async samplesRefused({ strand, first, last, reason }, nowMs) {
    this.session.tell("refused samples", { strand: hex(strand), first, last, reason });
    const place = this.#speaking(strand);
    if (reason !== "unknown strand" || !place?.writer.isOpen) return;
    this.#ended(place, "interrupted", nowMs);
    await this.#open(place, nowMs);
  }

  /** The city says of one's own strand that it is over. */
  async strandEnded({ strand, reason }, nowMs) {
    const place = this.#speaking(strand);
    if (place === undefined) return;
    this.#ended(place, reason, nowMs);
    await this.#open(place, nowMs);
  }

  #ended(place, reason, nowMs) {
    if (place.writer === null) return;
    const strand = hex(place.writer.strand);
    const release = place.end(nowMs);
    if (release !== null) this.#releases.push(release);
    this.session.tell("voice ended", { sanctuary: hex(place.sanctuary), strand, reason });
  }

  /**
   * Publish the key of a strand that an earlier visit left open: its page was closed with it.
   * @param {{sanctuary: Uint8Array, strand: Uint8Array, signer: import("./ed25519.js").Signer,
   *          atMs: number}} release `atMs`: a minute after the strand's end at the earliest
   */
  release(release) {
    this.#releases.push(release);
  }

  // ── time ──────────────────────────────────────────────────────────────────────────────────────

  async tick(nowMs) {
    for (const place of this.places.values()) {
      if (place.againMs !== null && place.againMs <= nowMs) await this.#join(place, nowMs);
      const { writer } = place;
      const tMs = this.session.cityMs(nowMs);
      if (writer?.isOpen && writer.isDue(tMs)) await this.#seal(place, writer.cut(tMs));
    }
    if (!this.session.isSettled) return;
    await this.follows.tick(nowMs);
    const due = this.#releases.filter(({ atMs }) => atMs <= nowMs);
    this.#releases = this.#releases.filter(({ atMs }) => atMs > nowMs);
    for (const { sanctuary, strand, signer } of due) {
      this.session.say(say.release(sanctuary, strand, await signer.seed()));
      this.session.tell("key released", { strand: hex(strand) });
    }
  }

  /** When `tick` is wanted next: Unix ms of the clock that comes in. */
  deadlines() {
    const { offsetMs } = this.session;
    const places = [...this.places.values()];
    return [
      ...places.map(({ againMs }) => againMs),
      ...this.follows.deadlines(),
      ...places.map(({ writer }) => (writer?.isOpen ? writer.dueMs : null))
        .map((dueMs) => dueMs === null ? null : dueMs - offsetMs),
      ...this.#releases.map(({ atMs }) => atMs),
    ];
  }
}
