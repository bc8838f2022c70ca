/** The shell around the pure parts: a WebSocket, timers, randomness, the clock. In a page, or in Node. */

import { hex } from "./bytes.js";
import { comeBackAfterMs } from "./closes.js";
import { hasWebCrypto, newSigner } from "./ed25519.js";
import { packFrames, readFrame } from "./messages.js";
import { MessagePackError } from "./messagepack.js";
import { Purpose } from "./records.js";
import { SampleError } from "./sample.js";
import { Session } from "./session.js";
import { SEEN, Viewer } from "./viewer.js";

const SUBPROTOCOL = "synchronia.v1";
/** A client's own closes, of the range that RFC 6455 leaves to applications. */
const DONE = 1000;
const NOT_OF_THIS_PROTOCOL = 4000;
const SILENT = 4010;

export { newKeys } from "./identity.js";
export { sanctuaryOf } from "./place.js";

/** A citizen's connection, or (with `watch`) a watcher's of a public stage. */
export class Connection {
  viewer = new Viewer();
  /** `connecting`, `live`, `waiting` (for the next attempt) or `closed`. */
  state = "closed";
  #url;
  #watch;
  #onEvent;
  #WebSocket;
  #socket = null;
  #city = null;
  #attempt = 0;
  #moveWithinMs = null;
  #timer = null;
  #retry = null;
  /** The session's methods are called one at a time, in order. */
  #turn = Promise.resolve();
  #judging = Promise.resolve();

  /**
   * @param {object} of
   * @param {string} of.url of the city: `ws://host:port/v1/live` or wss
   * @param {import("./session.js").Keys} [of.keys] needed unless one only watches
   * @param {Uint8Array|null} [of.citizen] 16 bytes, as an earlier `enrolled` told
   * @param {Uint8Array|null} [of.watch] a public stage to watch without an identity
   * @param {(event: {type: string} & Record<string, any>) => void} of.onEvent called in order
   * @param {typeof WebSocket} [of.WebSocket] where none is global
   */
  constructor({ url, keys, citizen = null, watch = null, onEvent, WebSocket = globalThis.WebSocket }) {
    this.#url = watch === null ? url : `${url}?watch=${hex(watch)}`;
    this.#watch = watch;
    this.#onEvent = onEvent;
    this.#WebSocket = WebSocket;
    this.session = watch === null
      ? new Session({
          keys, citizen, createdMs: Date.now(), viewer: this.viewer,
          random: (count) => crypto.getRandomValues(new Uint8Array(count)),
          strandSigner: () => newSigner({ extractable: true }),
        })
      : null;
  }

  /** Connect, and come back until `close` or a close that says not to. */
  open() {
    if (this.#socket !== null) return;
    clearTimeout(this.#retry);
    this.#state("connecting");
    const socket = new this.#WebSocket(this.#url, SUBPROTOCOL);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#frame(socket, data);
    socket.onclose = ({ code, reason }) => this.#closed(socket, code, reason);
    socket.onerror = () => {}; // a close follows, with what there is to know
  }

  /** Go, without leaving: the city gives strands 10 s. Close voices first with `hush`. */
  close() {
    clearTimeout(this.#retry);
    const socket = this.#socket;
    this.#lost();
    this.#state("closed");
    socket?.close(DONE);
  }

  #state(state) {
    this.state = state;
    this.#onEvent({ type: "state", state });
  }

  #lost() {
    this.#socket = null;
    clearTimeout(this.#timer);
    this.#answer((session) => session.disconnected(), null);
  }

  #closed(socket, code, reason) {
    if (socket !== this.#socket) return;
    this.#lost();
    const afterMs = comeBackAfterMs(code, {
      attempt: this.#attempt, moveWithinMs: this.#moveWithinMs, chance: Math.random(),
    });
    this.#attempt += 1;
    this.#moveWithinMs = null;
    this.#onEvent({ type: "close", code, reason, comeBackMs: afterMs });
    this.#state(afterMs === null ? "closed" : "waiting");
    if (afterMs !== null) this.#retry = setTimeout(() => this.open(), afterMs);
  }

  /** End this socket oneself and go on as after any other close. */
  #give(socket, code, reason) {
    socket.close(code === NOT_OF_THIS_PROTOCOL ? code : SILENT, reason);
    this.#closed(socket, code, reason);
  }

  #frame(socket, data) {
    if (socket !== this.#socket) return;
    let messages;
    try {
      messages = readFrame(new Uint8Array(data));
    } catch (error) {
      if (!(error instanceof MessagePackError)) throw error;
      this.#give(socket, NOT_OF_THIS_PROTOCOL, "malformed");
      return;
    }
    const nowMs = Date.now();
    for (const message of messages) {
      if (SEEN.has(message.type)) this.#see(message, nowMs);
      if (message.type === "hello") this.#city = message.city;
      if (message.type === "welcome" || (message.type === "hello" && this.#watch !== null)) {
        this.#attempt = 0;
        if (this.state !== "live") this.#state("live");
      }
      if (message.type === "move") this.#move(socket, message.withinS * 1000);
      this.#answer((session) => session.receive(message, nowMs), socket);
    }
    for (const event of this.viewer.takeEvents()) this.#onEvent(event);
    this.#onEvent({ type: "heard" }); // last, so that what a frame tells of is counted from the one before
    this.#judge();
  }

  #see(message, nowMs) {
    try {
      this.viewer.receive(message, nowMs);
    } catch (error) {
      if (!(error instanceof MessagePackError || error instanceof SampleError)) throw error;
      this.#onEvent({ type: "unreadable", what: message.type });
    }
  }

  /** Go elsewhere at a random moment of what is left to this gateway. */
  #move(socket, withinMs) {
    this.#moveWithinMs = withinMs;
    setTimeout(() => {
      if (socket !== this.#socket) return;
      this.#moveWithinMs = 0;
      socket.close(DONE);
    }, Math.random() * withinMs);
  }

  #judge() {
    for (const check of this.viewer.takeChecks()) {
      if (!hasWebCrypto && !check.end) continue; // nothing is judged here: it stays pending
      this.#judging = this.#judging.then(async () => {
        await this.viewer.judge(check, this.#city);
        for (const event of this.viewer.takeEvents()) this.#onEvent(event);
      });
    }
  }

  /** One turn of the session: then its messages go out, its events up, and its timer is set. */
  #do(act, socket = this.#socket) {
    const { session } = this;
    if (session === null) return Promise.resolve(null);
    const turn = this.#turn.then(async () => {
      // a message of a socket that is gone must not answer on the next one
      if (socket !== this.#socket && socket !== null) return null;
      const result = await act(session);
      this.#send(session.takeMessages());
      for (const event of session.takeEvents()) {
        if (event.type === "silent") this.#give(this.#socket, SILENT, "no answer");
        this.#onEvent(event);
      }
      this.#arm();
      return result;
    });
    this.#turn = turn.catch(() => {}); // the caller has the error; the next turn goes on
    return turn;
  }

  /** A turn that nobody awaits: its error is an event, and never silent. */
  #answer(act, socket) {
    this.#do(act, socket).catch((error) => this.#onEvent({ type: "fault", error }));
  }

  #send(messages) {
    if (this.#socket?.readyState !== 1) return;
    for (const frame of packFrames(messages)) this.#socket.send(frame);
  }

  #arm() {
    clearTimeout(this.#timer);
    const deadlineMs = this.#socket === null ? null : this.session.nextDeadlineMs();
    if (deadlineMs === null) return;
    this.#timer = setTimeout(
      () => this.#answer((session) => session.tick(Date.now()), this.#socket),
      Math.max(0, deadlineMs - Date.now()),
    );
  }

  // ── what a person does ────────────────────────────────────────────────────────────────────────

  /** @param {Uint8Array} sanctuary 16 bytes; joined now and after every reconnect */
  join(sanctuary) {
    return this.#do((session) => session.voices.join(sanctuary, Date.now()), null);
  }

  /** @param {Uint8Array} sanctuary one's strand is closed first */
  leave(sanctuary) {
    return this.#do((session) => session.voices.leave(sanctuary, Date.now()), null);
  }

  /**
   * Open a strand, and a new one whenever it is interrupted, until `hush`.
   * @param {Uint8Array} sanctuary
   * @param {{name?: string|null}} [options] name: at most 40 code points, for those who see at `full`
   */
  speak(sanctuary, { name = null } = {}) {
    return this.#do((session) => session.voices.speak(sanctuary, name, Date.now()), null);
  }

  /** @param {Uint8Array} sanctuary close one's strand with its closing seal */
  hush(sanctuary) {
    return this.#do((session) => session.voices.hush(sanctuary, Date.now()), null);
  }

  /**
   * @param {Uint8Array} sanctuary
   * @param {import("./sample.js").Feeling} feeling
   * @returns {Promise<number|null>} the sample's number; nil: no strand is open, nothing was sent
   */
  feel(sanctuary, feeling) {
    return this.#do((session) => session.voices.feel(sanctuary, feeling, Date.now()), null);
  }

  /**
   * Publish the key of a strand that an earlier visit of the same device left open.
   * @param {{sanctuary: Uint8Array, strand: Uint8Array, signer: import("./ed25519.js").Signer}} of
   * @param {number} afterMs from now; the strand must have ended a minute before
   */
  release(of, afterMs) {
    const atMs = Date.now() + afterMs;
    return this.#do((session) => session.voices.release({ ...of, atMs }), null);
  }

  /** @param {{sanctuary?: Uint8Array|null, audience: number, tier: number, purpose?: number, untilMs?: number|null}} of */
  grant({ sanctuary = null, audience, tier, purpose = Purpose.LIVE, untilMs = null }) {
    return this.#consent("grant", { sanctuary, audience, tier, purpose, untilMs });
  }

  /** @param {{sanctuary?: Uint8Array|null, person: Uint8Array, tier: number, untilMs?: number|null}} of */
  except({ sanctuary = null, person, tier, untilMs = null }) {
    return this.#consent("exception", { sanctuary, person, tier, untilMs });
  }

  /** Let this person follow: they see what is granted to followers. @param {{person: Uint8Array, untilMs?: number|null}} of */
  approve({ person, untilMs = null }) {
    return this.#consent("approval", { person, isApproved: true, untilMs });
  }

  /** This person follows no more. @param {{person: Uint8Array}} of */
  revoke({ person }) {
    return this.#consent("approval", { person, isApproved: false, untilMs: null });
  }

  /**
   * Follow exactly these in a sanctuary one has joined; event: `following`. They are seen if they approved.
   * @param {Uint8Array} sanctuary
   * @param {Uint8Array[]} followed at most 64 citizen ids
   */
  follow(sanctuary, followed) {
    return this.#do((session) => session.voices.follows.follow(sanctuary, followed, Date.now()), null);
  }

  /** Everything, unless it is said what. @param {{sanctuary?: Uint8Array|null, audience?: number|null, purpose?: number|null}} [of] */
  withdraw({ sanctuary = null, audience = null, purpose = null } = {}) {
    return this.#consent("withdrawal", { sanctuary, audience, purpose });
  }

  /** Fetch what is recorded by now, by whatever page or device; event: `chain`. */
  consentAgain() {
    return this.#do((session) => session.isSettled && session.askChain(Date.now()), null);
  }

  #consent(kind, of) {
    return this.#do((session) => session.consentTo(kind, of, Date.now()), null);
  }
}
