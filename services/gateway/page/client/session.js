/**
 * One citizen's session, over as many sockets as it takes: what to say to what the city says.
 *
 * Messages in (`receive`), messages and events out (`takeMessages`, `takeEvents`); time comes in as Unix
 * ms, randomness as a function. Methods wait for nothing but WebCrypto: call them one at a time.
 */

import { equal } from "./bytes.js";
import { ASK_AGAIN_MS } from "./closes.js";
import { ConsentChain, isEnding } from "./consent_chain.js";
import { makeToken } from "./identity.js";
import { say } from "./messages.js";
import { packInception, signRecord } from "./records.js";
import { Voices } from "./voices.js";

/** `time?` goes out this often; a socket that does not answer within SILENCE_MS_MAX is dead. */
const TIME_EVERY_MS = 5000;
const SILENCE_MS_MAX = 10_000;
/** A clock that differs by more is corrected by the city's, which takes stamps within 30 s. */
const SKEW_MS_MAX = 5000;
/** A city that does not know this citizen (yet) is asked again after this long. */
const ENROL_AGAIN_MS = 500;
/** What got no answer (the bus may lose it) is asked again after this long. */
const ANSWER_MS_MAX = 2000;

/**
 * @typedef {object} Keys
 * @property {import("./ed25519.js").Signer} device for sessions, joins, follows, openings, what ends consent
 * @property {import("./ed25519.js").Signer} identity for enrolling, grants, exceptions and approvals
 * @property {Uint8Array} nextKeyHash 32 bytes: SHA-256 of the next identity key; for enrolling
 */

export class Session {
  /** `hello` of the present socket. */
  hello = null;
  isWelcome = false;
  /** Whether this socket is welcome and the citizen enrolled. */
  isSettled = false;
  consent = new ConsentChain();
  voices = new Voices(this);
  /** From the citizen's clock to the city's, ms; nought while they agree within 5 s. */
  offsetMs = 0;
  #ref = 0;
  #asked = new Map();
  #messages = [];
  #events = [];
  #timeAskedMs = null;
  #timeDueMs = null;
  #enrolAgainMs = null;
  /** What was asked of the chain and not answered yet, and when to ask again. */
  #chainDue = null;

  /**
   * @param {object} of
   * @param {Keys} of.keys
   * @param {Uint8Array|null} [of.citizen] 16 bytes, once enrolled
   * @param {number} of.createdMs of the inception, Unix ms
   * @param {(count: number) => Uint8Array} of.random
   * @param {() => Promise<import("./ed25519.js").Signer>} of.strandSigner a new extractable key
   * @param {import("./viewer.js").Viewer} of.viewer says what is still held
   */
  constructor({ keys, citizen = null, createdMs, random, strandSigner, viewer }) {
    Object.assign(this, { keys, citizen, createdMs, random, strandSigner, viewer });
  }

  /** Messages since the last call, for the present socket. */
  takeMessages() {
    return this.#messages.splice(0);
  }

  /** Events since the last call; each has a `type`. */
  takeEvents() {
    return this.#events.splice(0);
  }

  say(message) {
    this.#messages.push(message);
  }

  tell(type, fields = {}) {
    this.#events.push({ type, ...fields });
  }

  /** A fresh `ref`, and what its answer will be about. */
  ask(what, of = null) {
    this.#ref = (this.#ref + 1) % 2 ** 32;
    this.#asked.set(this.#ref, { what, of });
    return this.#ref;
  }

  /** The city's time of a moment of one's own clock. */
  cityMs(nowMs) {
    return nowMs + this.offsetMs;
  }

  // ── the socket ────────────────────────────────────────────────────────────────────────────────

  /** The socket is gone; what was wanted stays wanted. */
  disconnected() {
    this.hello = null;
    this.isWelcome = this.isSettled = false;
    this.#timeAskedMs = this.#timeDueMs = this.#enrolAgainMs = this.#chainDue = null;
    this.#asked.clear();
    this.#messages.length = 0;
    this.voices.disconnected();
  }

  /**
   * @param {import("./messages.js").ServerMessage} message
   * @param {number} nowMs
   */
  async receive(message, nowMs) {
    const asked = typeof message.ref === "number" ? this.#asked.get(message.ref) : undefined;
    if (asked !== undefined && message.type !== "refused") this.#asked.delete(message.ref);
    await this.#answers[message.type]?.(message, nowMs, asked?.of ?? null);
  }

  #answers = {
    hello: async (message, nowMs) => {
      this.hello = message;
      const offsetMs = message.nowMs - nowMs;
      this.offsetMs = Math.abs(offsetMs) > SKEW_MS_MAX ? offsetMs : 0;
      this.tell("hello", { gateway: message.gateway, city: message.city, offsetMs });
      await this.#token(message.session, nowMs);
    },
    nonce: ({ nonce }, nowMs) => this.#token(nonce, nowMs),
    welcome: async ({ citizen, expiresMs }, nowMs) => {
      this.tell("welcome", { expiresMs, isRenewal: this.isWelcome });
      if (this.isWelcome) return;
      this.isWelcome = true;
      this.#timeDueMs = nowMs;
      this.citizen ??= citizen;
      if (this.citizen === null) await this.#enrol(nowMs);
      else await this.#settle(nowMs);
    },
    enrolled: async ({ citizen }, nowMs) => {
      this.citizen = citizen;
      this.#enrolAgainMs = null;
      this.tell("enrolled", { citizen });
      await this.#settle(nowMs);
    },
    joined: (message, nowMs) => this.voices.joined(message, nowMs),
    following: (message) => this.voices.follows.answered(message),
    challenge: (message, nowMs) => this.voices.challenge(message, nowMs),
    policy: (message, nowMs) => this.voices.policy(message, nowMs),
    opened: (message) => this.voices.opened(message),
    sealed: (message, nowMs) => this.voices.sealed(message, nowMs),
    "seal?": (message, nowMs) => this.voices.sealWanted(message, nowMs),
    ended: (message, nowMs) => this.voices.strandEnded(message, nowMs),
    "refused samples": async (message, nowMs) => {
      if (message.reason === "skew") this.offsetMs = message.nowMs - nowMs;
      await this.voices.samplesRefused(message, nowMs);
    },
    acted: ({ citizen, counter }) => {
      if (this.citizen !== null && equal(citizen, this.citizen)) this.tell("acted", { counter });
    },
    recorded: async (message, nowMs) => {
      const { known, pending } = await this.consent.recorded(message);
      for (const { counter, kind, of } of pending) this.tell("recorded", { counter, kind, of });
      if (!known) this.askChain(nowMs);
    },
    chain: async (message, nowMs, before) => {
      this.#chainDue = null;
      if (before !== null) {
        const hasJoined = await this.consent.loadOlder(message);
        if (hasJoined && this.consent.before !== null) this.askChain(nowMs, this.consent.before);
        if (this.consent.isWhole) this.tell("chain", { counter: this.consent.counter });
        return;
      }
      const { recorded, given } = await this.consent.load(message, this.cityMs(nowMs));
      for (const { counter, kind, of } of recorded) this.tell("recorded", { counter, kind, of });
      for (const { counter, kind, of } of given) {
        this.tell("consent refused", { counter, kind, of, reason: "stale" });
      }
      this.tell("chain", { counter: message.counter });
      this.#sendConsent(nowMs); // which waits for the head alone
      if (this.consent.before !== null) this.askChain(nowMs, this.consent.before);
    },
    refused: (message, nowMs) => this.#refused(message, nowMs),
    time: ({ clientMs, nowMs: cityMs }, nowMs) => {
      this.#timeAskedMs = null;
      this.tell("delay", { roundTripMs: nowMs - clientMs, offsetMs: cityMs - nowMs });
    },
    move: ({ withinS }) => this.tell("move", { withinMs: withinS * 1000 }),
  };

  async #token(nonce, nowMs) {
    const { origin, city } = this.hello;
    const socket = { origin, city, nonce, citizen: this.citizen, nowMs: this.cityMs(nowMs) };
    this.say(say.token(await makeToken(this.keys.device, socket)));
  }

  async #enrol(nowMs) {
    this.#enrolAgainMs = nowMs + ANSWER_MS_MAX;
    const { identity, device, nextKeyHash } = this.keys;
    const payload = packInception({
      identityKey: identity.publicKey, nextKeyHash, devices: [device.publicKey],
      createdMs: this.createdMs,
    });
    const record = await signRecord(identity, "inception", this.hello.city, payload);
    this.say(say.enrol(this.ask("enrol"), record));
  }

  /** Welcome and known: the chain, what is pending, and every place that is wanted. */
  async #settle(nowMs) {
    this.isSettled = true;
    this.consent.belongsTo({ city: this.hello.city, citizen: this.citizen });
    this.consent.reconnected();
    this.#sendConsent(nowMs); // first of all: a withdrawal may be among it
    this.askChain(nowMs);
    await this.voices.settle(nowMs);
  }

  async #refused({ ref, reason, meaning, nowMs: cityMs }, nowMs) {
    const consent = ref === null ? null : this.consent.refused(ref, reason);
    if (consent !== null) {
      const { kind, of, counter } = consent.pending;
      if (consent.isLost) this.tell("consent refused", { kind, of, counter, reason });
      if (consent.askChain) this.askChain(nowMs);
      return;
    }
    const asked = this.#asked.get(ref);
    this.#asked.delete(ref);
    this.tell("refused", { what: asked?.what ?? null, reason, meaning });
    if (asked === undefined) return;
    const isUnknown = reason === "unknown citizen";
    if (isUnknown) {
      this.#enrolAgainMs = nowMs + ENROL_AGAIN_MS;
    } else if (asked.what === "enrol" && reason in ASK_AGAIN_MS) {
      this.#enrolAgainMs = nowMs + ASK_AGAIN_MS[reason];
    } else if (asked.what === "join" || asked.what === "open") {
      this.voices.refused(asked, reason, nowMs);
    } else if (asked.what === "follow") {
      this.voices.follows.refused(asked.of, { ref, reason, cityMs }, nowMs);
    } else if (asked.what === "chain" && this.#chainDue !== null) {
      this.#chainDue.atMs = nowMs + (ASK_AGAIN_MS[reason] ?? ANSWER_MS_MAX);
    }
  }

  // ── consent ───────────────────────────────────────────────────────────────────────────────────

  /** Ask for the chain's newest records, or those before a counter; again until there is an answer. */
  askChain(nowMs, before = null) {
    this.#chainDue = { before, atMs: nowMs + ANSWER_MS_MAX };
    this.say(say.askChain(this.ask("chain", before), this.citizen, before));
  }

  /**
   * A consent record: signed, sent, repeated until recorded. Events: `acted`, `recorded`,
   * `consent refused`.
   * @param {"grant"|"exception"|"withdrawal"|"approval"} kind
   * @param {object} of its own fields, as in `records.js`
   * @param {number} nowMs
   * @returns {Promise<number|null>} its counter; nil: kept until the chain is known
   */
  async consentTo(kind, of, nowMs) {
    const signer = isEnding(kind, of) ? this.keys.device : this.keys.identity;
    const counter = await this.consent.add(kind, of, {
      signer, ref: this.ask("record"), tMs: this.cityMs(nowMs),
    });
    this.#sendConsent(nowMs);
    return counter;
  }

  #sendConsent(nowMs) {
    if (!this.isSettled) return;
    for (const { ref, record } of this.consent.due(nowMs)) this.say(say.record(ref, record));
  }

  // ── time ──────────────────────────────────────────────────────────────────────────────────────

  /** @param {number} nowMs */
  async tick(nowMs) {
    if (this.hello === null) return;
    await this.voices.tick(nowMs);
    this.#sendConsent(nowMs);
    if (this.#enrolAgainMs !== null && this.#enrolAgainMs <= nowMs) await this.#enrol(nowMs);
    if (this.#chainDue !== null && this.#chainDue.atMs <= nowMs) this.askChain(nowMs, this.#chainDue.before);
    if (this.#timeAskedMs !== null && nowMs - this.#timeAskedMs >= SILENCE_MS_MAX) {
      this.#timeAskedMs = null;
      this.tell("silent");
    } else if (this.#timeDueMs !== null && this.#timeDueMs <= nowMs) {
      this.#timeDueMs = nowMs + TIME_EVERY_MS;
      this.#timeAskedMs ??= nowMs;
      this.say(say.time(nowMs));
    }
  }

  /** When `tick` is wanted next, Unix ms; nil without a socket. */
  nextDeadlineMs() {
    if (this.hello === null) return null;
    const silentMs = this.#timeAskedMs === null ? null : this.#timeAskedMs + SILENCE_MS_MAX;
    const own = [this.#timeDueMs, silentMs, this.#enrolAgainMs, this.#chainDue?.atMs ?? null];
    // what waits for a welcome is not due before it
    const settled = this.isSettled ? [this.consent.dueMs, ...this.voices.deadlines()] : [];
    const deadlines = [...own, ...settled].filter((at) => at !== null);
    return deadlines.length === 0 ? null : Math.min(...deadlines);
  }
}
