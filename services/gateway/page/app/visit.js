/**
 * One visit of one citizen: the connection, the room, what is spoken and allowed. A shell without any
 * document: screens read it, call it, and are told by `onChange` that something is new.
 */

import { equal, fromHex, hex } from "../client/bytes.js";
import { ASK_AGAIN_MS } from "../client/closes.js";
import { Connection } from "../client/connection.js";
import { Audience, STRAND_KEY_PUBLISH_AFTER_MS, Tier } from "../client/records.js";
import { Crowd } from "../plane/crowd.js";
import { pageNowMs } from "../plane/plane.js";
import { nameOf } from "../plane/twin.js";
import { Allowing, audienceKey } from "./allowing.js";
import { copy } from "./copy.js";
import { Desk } from "./desk.js";
import { Ends } from "./ends.js";
import { Link, secondsOf } from "./link.js";
import { capital, isRecognisable, mirrors, TIER_WORDS, whom } from "./mirrors.js";
import { Notices } from "./notices.js";
import { OtherPages } from "./other_pages.js";
import { Says } from "./says.js";
import { Speaking } from "./speaking.js";
import { clock, clockSeconds } from "./times.js";

/** The city ends a strand whose page was closed after 10 s. */
const LEFT_AFTER_MS = 10_000;
/** How long a notice that tells of something over stands. */
const BRIEF_MS = 15_000;
/** The city takes no longer list of one session and room. */
const FOLLOWED_MAX = 64;
const LIVE_PATH = "/v1/live";

/** @returns {string} of this page's own city */
export function liveUrl() {
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${LIVE_PATH}`;
}

export class Visit {
  crowd = new Crowd();
  desk = new Desk();
  link = new Link();
  notices = new Notices();
  says = new Says();
  /** A sentence that interrupts: a false seal, a withdrawal that is late. */
  alarm = "";
  /** @type {Uint8Array|null} the room one is in, or goes to */
  sanctuary = null;
  /** @type {ReturnType<typeof import("../client/records.js").readPolicy>|null} once one is in */
  policy = null;
  /** Whether anything was ever said on this visit to this room. */
  hasSpoken = false;
  /** Whether the room's snapshot has come: before it nobody is known to be absent. */
  isSettled = false;
  /** Whether one said yes to being recognised here. */
  #isRecognised = false;
  #connection;
  #store;
  #onChange;
  #falseOnes = new Set();
  #ends = new Ends();
  #pages = new OtherPages((told) => this.#toldByAnother(told));

  /**
   * @param {import("./keys.js").Keystore} store with keys in it
   * @param {(what: "crowd"|"all") => void} onChange
   */
  constructor(store, onChange) {
    this.#store = store;
    this.#onChange = onChange;
    this.speaking = new Speaking({
      say: (feeling) => this.#connection.feel(this.sanctuary, feeling),
      onStop: (why) => this.#stopped(why === "hidden" ? copy.wasHidden : copy.stopped, ["speak"]),
    });
    this.#connection = new Connection({
      url: liveUrl(), keys: store.keys, citizen: store.kept.citizen,
      onEvent: (event) => this.#happened(event),
    });
    this.allowing = new Allowing({
      connection: this.#connection, store, desk: this.desk, where: () => this.sanctuary,
      onChange: () => this.#onChange("all"),
    });
    this.#self();
    this.#connection.open();
    this.#publish();
  }

  /** The name that those who see one in full may read; "" for none. */
  get name() {
    return this.#store.kept.name;
  }

  /** What to call somebody. @param {string} citizen hexadecimal */
  nameOf(citizen) {
    return this.#personOf(citizen) ?? `somebody (${citizen.slice(0, 6)})`;
  }

  get citizen() {
    return this.#store.kept.citizen === null ? null : hex(this.#store.kept.citizen);
  }

  get consent() {
    return this.#connection.session.consent;
  }

  get isSpeaking() {
    return this.speaking.isSpeaking;
  }

  /** Whether one may speak in this room: on some stages only those who were asked to. */
  get maySpeak() {
    const voices = this.policy?.voices;
    return voices === null || (voices?.some((voice) => hex(voice) === this.citizen) ?? false);
  }

  get isWithdrawn() {
    return this.desk.withdrawal !== null;
  }

  #self() {
    this.crowd.setSelf(this.citizen);
  }

  close() {
    this.speaking.end();
    this.#pages.close();
    this.#connection.close();
  }

  // ── rooms ─────────────────────────────────────────────────────────────────────────────────────

  /** @param {Uint8Array} sanctuary */
  goTo(sanctuary) {
    if (this.sanctuary !== null && equal(this.sanctuary, sanctuary)) return;
    this.leave();
    this.sanctuary = sanctuary;
    this.#connection.join(sanctuary);
    const { followed } = this.#store.kept;
    if (followed.length > 0) this.#connection.follow(sanctuary, followed);
    this.#onChange("all");
  }

  leave() {
    if (this.sanctuary !== null) this.#connection.leave(this.sanctuary);
    this.speaking.reset();
    this.crowd.clear();
    this.notices.clear();
    this.link.begins();
    this.#falseOnes.clear();
    this.#ends.clear();
    this.sanctuary = this.policy = null;
    this.hasSpoken = this.isSettled = this.#isRecognised = false;
    this.#onChange("all");
  }

  // ── whom one follows ──────────────────────────────────────────────────────────────────────────

  /** Citizens in hexadecimal; whether any of them is seen, each of them decides. */
  get followed() {
    return this.#store.kept.followed.map(hex);
  }

  get mayFollowMore() {
    return this.#store.kept.followed.length < FOLLOWED_MAX;
  }

  /** @param {string} person hexadecimal */
  async follow(person, isFollowed) {
    const others = this.#store.kept.followed.filter((each) => hex(each) !== person);
    await this.#store.keep({ followed: isFollowed ? [...others, fromHex(person)] : others });
    if (this.sanctuary !== null) await this.#connection.follow(this.sanctuary, this.#store.kept.followed);
    this.#onChange("all");
  }

  // ── speaking ──────────────────────────────────────────────────────────────────────────────────

  /**
   * From now on what one feels goes out.
   * @param {{isSure?: boolean}} [options] isSure: it was read that one can be recognised
   */
  speak({ isSure = false } = {}) {
    if (!this.maySpeak || this.isSpeaking) return;
    const here = { consent: this.consent, sanctuary: hex(this.sanctuary), nowMs: pageNowMs() };
    this.#isRecognised ||= isSure;
    if (!this.#isRecognised && isRecognisable(here, this.#members().granted)) {
      this.notices.put("two tiers", copy.twoTiers, { actions: ["speak anyway"] });
      this.#onChange("all");
      return;
    }
    for (const topic of ["two tiers", "stopped", "still there"]) this.notices.drop(topic);
    this.#connection.speak(this.sanctuary, { name: this.#store.kept.name || null });
    this.speaking.begin();
    this.hasSpoken = true;
    this.says.say("speaking", "You speak.");
    this.#onChange("all");
  }

  pause() {
    this.#hush();
    this.says.say("speaking", "You paused. Nothing is sent.");
    this.#onChange("all");
  }

  #hush() {
    this.speaking.end();
    this.notices.drop("still there");
    if (this.sanctuary !== null) this.#connection.hush(this.sanctuary);
  }

  #stopped(text, actions) {
    this.#hush();
    this.notices.put("stopped", text, { actions });
    this.says.say("speaking", text);
    this.#onChange("all");
  }

  /** The hand moved; the first touch begins to speak, as one was told. */
  move(feeling) {
    this.speaking.move(feeling);
    if (!this.hasSpoken && !this.isWithdrawn) this.speak();
    this.notices.drop("still there");
  }

  /** The name that those who see one in full may read; spoken from the next strand on. */
  async rename(name) {
    await this.#store.keep({ name });
    if (!this.isSpeaking) return;
    await this.#connection.hush(this.sanctuary);
    await this.#connection.speak(this.sanctuary, { name: name || null });
  }

  // ── consent ───────────────────────────────────────────────────────────────────────────────────

  /** @returns {import("./mirrors.js").Mirror[]} */
  mirrors(nowMs = pageNowMs()) {
    const asked = this.desk.narrowed;
    const audiences = Object.values(Audience).filter((each) => asked.has(audienceKey(each)));
    const narrowed = new Map(audiences.map((each) => [each, asked.get(audienceKey(each))]));
    return mirrors({
      consent: this.consent, policy: this.policy, isClose: this.crowd.isClose,
      isSpeaking: this.isSpeaking && this.link.state === "live", isWithdrawn: this.isWithdrawn, nowMs,
      narrowed,
    });
  }

  #members() {
    return this.mirrors()[0];
  }

  /** Whether one of the cells is oneself: nobody can tell which. */
  get isCell() {
    return this.#members().tier === Tier.COARSE;
  }

  /** Nobody receives anything from now on; or, of one room, nobody there. */
  async withdraw({ isAll = true } = {}) {
    if (isAll && this.isWithdrawn) return;
    this.speaking.end();
    const asked = this.allowing.withdraw({ isAll });
    const sanctuary = isAll ? null : hex(this.sanctuary);
    this.#pages.tell({ citizen: this.citizen, what: "withdrawing", sanctuary });
    if (this.sanctuary !== null) this.#connection.hush(this.sanctuary);
    await asked;
  }

  /** What another page or device has recorded meanwhile counts here too. */
  consentAgain() {
    this.#connection.consentAgain();
  }

  async #toldByAnother({ citizen, what, sanctuary }) {
    if (citizen !== this.citizen) return;
    if (what === "withdrawing") {
      const isHere = sanctuary === null || (this.sanctuary !== null && sanctuary === hex(this.sanctuary));
      if (isHere && this.isSpeaking) this.#stopped(copy.withdrawnElsewhere, []);
    } else {
      await this.#store.refresh();
      this.consentAgain();
    }
  }

  // ── what happens ──────────────────────────────────────────────────────────────────────────────

  #happened(event) {
    const nowMs = pageNowMs();
    if (event.type === "heard") {
      this.link.heard(nowMs); // which changes nothing that is shown
      return;
    }
    if (event.sanctuary !== undefined && !this.#isHere(event)) return;
    this.crowd.see(event, nowMs);
    this.#reactions[event.type]?.(event, nowMs);
    this.#onChange(event.type === "sample" || event.type === "coarse" ? "crowd" : "all");
  }

  #isHere({ sanctuary }) {
    if (this.sanctuary === null) return false;
    return (typeof sanctuary === "string" ? sanctuary : hex(sanctuary)) === hex(this.sanctuary);
  }

  #reactions = {
    state: ({ state }, nowMs) => {
      this.link.changed(state, nowMs);
      if (this.link.state === "lost") this.#lost(nowMs);
      else if (state === "live") this.notices.drop("no connection");
    },
    close: ({ reason }) => this.link.closed(reason),
    delay: ({ roundTripMs }) => this.link.answered(roundTripMs),
    enrolled: ({ citizen }) => {
      this.#store.keep({ citizen });
      this.#self();
    },
    joined: ({ policy }) => {
      this.policy = policy;
      if (["work", "education"].includes(policy.setting)) {
        this.notices.put("work or school", copy.workOrSchool);
      }
    },
    policy: ({ policy }) => {
      this.policy = policy;
    },
    opened: (event) => {
      this.speaking.opened(event.strand);
      const { strand, signer } = event;
      if (this.policy?.kind !== "stage") {
        this.#store.keepStrand({ strand, sanctuary: this.sanctuary, signer });
      }
    },
    "key released": ({ strand }) => this.#store.dropStrand(strand),
    sealed: (event) => this.speaking.sealed(event),
    "refused samples": (event) => this.speaking.refused(event),
    sample: (event) => {
      if (event.citizen === this.citizen) this.speaking.echoed(event);
      else this.notices.drop("empty");
    },
    window: (event, nowMs) => {
      if (event.state === "false") this.#falsified(event, nowMs);
    },
    "false opening": (event, nowMs) => this.#falsified(event, nowMs),
    skipped: (event, nowMs) => this.#missing(event, nowMs),
    snapshot: (event, nowMs) => this.#snapshot(event, nowMs),
    gap: (_, nowMs) => this.link.missed(nowMs),
    rung: ({ rung }) => this.#slowed(rung),
    closeness: ({ close }) => {
      const { closeLimit, closeBack } = this.policy ?? {};
      if (close || !closeLimit) this.notices.drop("closeness");
      else this.notices.put("closeness", copy.beyondLimit(closeLimit, closeBack));
      if (!close && closeLimit) this.says.say("closeness", copy.beyondLimit(closeLimit, closeBack));
    },
    refused: ({ what, reason, meaning }) => {
      if (what === "join") this.#notLetIn(reason, meaning);
      else if (what === "open") this.#notHeard(reason, meaning);
    },
    acted: (event, nowMs) => {
      for (const withdrawal of this.desk.acted(event, nowMs)) this.#acted(withdrawal);
    },
    recorded: (event, nowMs) => {
      this.desk.recorded(event, nowMs);
      this.#pages.tell({ citizen: this.citizen, what: "recorded" });
      this.notices.drop("recorded late");
      if (event.kind === "grant") this.says.say("consent", this.#seenBy());
    },
    chain: ({ counter }, nowMs) => {
      for (const withdrawal of this.desk.found(counter)) this.#acted(withdrawal);
      const isGiven = this.consent.grants(nowMs).length > 0; // by another page or device
      if (isGiven && this.desk.withdrawal?.step === "recorded") this.desk.withdrawal = null;
    },
    "consent refused": (event, nowMs) => {
      this.desk.refused(event, nowMs);
      this.notices.put("refused", `Not recorded: ${event.reason}. Nobody sees more than before.`, {
        untilMs: nowMs + BRIEF_MS,
      });
    },
    // a fault of ours must be seen, not swallowed
    fault: ({ error }) => console.error(error),
  };

  #lost(nowMs) {
    this.notices.drop("slow");
    this.crowd.gap(nowMs);
    this.desk.cut();
    this.notices.drop("empty");
    this.notices.put("no connection", copy.reconnecting);
    this.says.say("link", copy.reconnecting);
  }

  #slowed(rung) {
    this.link.rung = rung;
    if (rung === "every") this.notices.drop("slow");
    else {
      this.notices.put("slow", copy.slow(rung));
      this.says.say("link", copy.slow(rung));
    }
  }

  #snapshot(event, nowMs) {
    this.isSettled = true;
    const gap = this.link.settled(event, nowMs);
    if (gap === null) return;
    const text = gap.isWhole ? copy.backWhole : copy.backMissing(secondsOf(gap));
    this.notices.put("back", text, { untilMs: nowMs + BRIEF_MS });
    this.says.say("link", text);
  }

  /** Who sees one from now on, in a sentence. */
  #seenBy() {
    return this.mirrors().map(({ who, granted }) => `${who}: ${TIER_WORDS[granted]}.`).join(" ");
  }

  #personOf(citizen) {
    const mark = this.crowd.marks.get(citizen);
    return mark === undefined ? null : nameOf(mark);
  }

  #falsified({ citizen, strand }, nowMs) {
    const name = this.#personOf(citizen);
    if (name === null || this.#falseOnes.has(strand)) return;
    this.#falseOnes.add(strand);
    const text = copy.falseSeal(name, clockSeconds(nowMs));
    this.notices.put("false seal", text, { actions: ["seen"] });
    this.alarm = text;
  }

  #missing({ citizen, first, last, reason }, nowMs) {
    const name = this.#personOf(citizen);
    if (name === null || (reason !== "lost" && reason !== "conflated")) return;
    const text = copy.partsMissing(name, last - first + 1, reason);
    this.notices.put("missing", text, { untilMs: nowMs + BRIEF_MS });
  }

  #notLetIn(reason, meaning) {
    const isShut = !(reason in ASK_AGAIN_MS);
    const text = isShut ? copy.notOpen : `You are not in yet: ${meaning}.`;
    this.notices.put("refused", text, { actions: isShut ? ["rooms"] : [] });
    this.says.say("refused", text);
  }

  #notHeard(reason, meaning) {
    if (reason in ASK_AGAIN_MS) return; // the client opens another by itself
    this.speaking.end();
    this.notices.put("refused", `You cannot speak here: ${meaning}.`, { untilMs: pageNowMs() + BRIEF_MS });
  }

  #acted(withdrawal) {
    this.says.answer(withdrawal === this.desk.withdrawal ? copy.withdrawn : copy.withdrawnHere);
    this.notices.drop("withdrawal late");
    this.alarm = "";
  }

  /** Publish the keys of strands that earlier pages left open, a minute after their end. */
  async #publish() {
    const afterMs = LEFT_AFTER_MS + STRAND_KEY_PUBLISH_AFTER_MS;
    await this.#store.takeLeft(({ strand, sanctuary, signer }) =>
      this.#connection.release({ strand: fromHex(strand), sanctuary, signer }, afterMs));
  }

  // ── time ──────────────────────────────────────────────────────────────────────────────────────

  /** Four times a second: what becomes true by waiting. */
  tick() {
    const nowMs = pageNowMs();
    for (const withdrawal of this.desk.withdrawals) {
      if (withdrawal.isLate(nowMs) && this.notices.current(nowMs)?.topic !== "withdrawal late") {
        this.notices.put("withdrawal late", copy.withdrawalSlow);
        this.alarm = copy.withdrawalSlow;
      }
      if (withdrawal.isUnwritten(nowMs)) this.notices.put("recorded late", copy.recordedLate);
    }
    if (this.speaking.isAsking) {
      this.notices.put("still there", copy.stillThere, { actions: ["still here", "pause"] });
      this.says.say("speaking", copy.stillThere);
    } else this.notices.drop("still there");
    if (this.policy !== null) this.#watchEnds(nowMs);
    this.#watchEmpty();
  }

  #watchEnds(nowMs) {
    const { soon, ended } = this.#ends.look(this.mirrors(nowMs), nowMs, this);
    if (soon === null) this.notices.drop("ends soon");
    else {
      const text = copy.endsSoon(clock(soon.untilMs), whom(soon.audience));
      this.notices.put("ends soon", text, { actions: ["extend"] });
    }
    if (ended === null) return;
    const text = copy.ended(clock(ended.untilMs), capital(whom(ended.audience)));
    this.notices.put("ended", text, { untilMs: nowMs + 60_000, actions: ["seen"] });
    this.says.say("ends", text);
  }

  #watchEmpty() {
    const others = this.crowd.tiles.size - (this.isCell ? 1 : 0);
    const isEmpty = this.isSettled && this.crowd.marks.size === 0 && others <= 0;
    if (isEmpty && this.crowd.isClose !== false) this.notices.put("empty", copy.empty);
    else this.notices.drop("empty");
  }
}
