/** Whom one follows, by sanctuary: said after each join, and until the city has it. Time comes in. */

import { hex } from "./bytes.js";
import { ASK_AGAIN_MS } from "./closes.js";
import { say } from "./messages.js";
import { FOLLOWED_MAX, packFollow, signRecord } from "./records.js";

/** The list is said again after this long without an answer, and anew when it was refused for the moment. */
const AGAIN_MS = 1000;
/** Refusals after which a list signed anew is taken: of the clock, and of the list's number. */
const SIGN_ANEW = new Set(["skew", "stale"]);

export class Follows {
  /** @type {Map<string, {sanctuary: Uint8Array, followed: Uint8Array[], ref: number|null, againMs: number|null}>} */
  #lists = new Map();
  #number = 0;

  /** @param {import("./session.js").Session} session whose socket, keys and clock these are */
  constructor(session) {
    this.session = session;
  }

  #isSeated(sanctuary) {
    return this.session.voices.places.get(hex(sanctuary))?.isSeated === true;
  }

  /** The socket is gone, and what was said on it. */
  disconnected() {
    for (const list of this.#lists.values()) list.ref = list.againMs = null;
  }

  /**
   * From now on exactly these, now and after every reconnect.
   * @param {Uint8Array} sanctuary
   * @param {Uint8Array[]} followed at most 64 citizens; none: nobody
   * @param {number} nowMs
   */
  async follow(sanctuary, followed, nowMs) {
    if (followed.length > FOLLOWED_MAX) throw new RangeError("more people than one may follow");
    this.#lists.set(hex(sanctuary), { sanctuary, followed, ref: null, againMs: null });
    if (this.#isSeated(sanctuary)) await this.#say(sanctuary, nowMs);
  }

  /** One left the sanctuary. */
  forget(sanctuary) {
    this.#lists.delete(hex(sanctuary));
  }

  /** `joined`: a seat that is new follows nobody yet. */
  async joined({ sanctuary }, nowMs) {
    const list = this.#lists.get(hex(sanctuary));
    if (list !== undefined && list.followed.length > 0) await this.#say(sanctuary, nowMs);
  }

  async #say(sanctuary, nowMs) {
    const { session } = this;
    const list = this.#lists.get(hex(sanctuary));
    const { device } = session.keys;
    this.#number += 1;
    const payload = packFollow({
      sanctuary, session: session.hello.session, gateway: session.hello.gateway,
      citizen: session.citizen, device: device.publicKey, tMs: session.cityMs(nowMs),
      number: this.#number, followed: list.followed,
    });
    const record = await signRecord(device, "follow", session.hello.city, payload);
    list.ref = session.ask("follow", { sanctuary });
    list.againMs = nowMs + AGAIN_MS;
    session.say(say.follow(list.ref, sanctuary, record));
  }

  /** `following`: the city has the list. Whether anybody of it is seen, each of them decides. */
  answered({ ref, sanctuary, count }) {
    const list = this.#lists.get(hex(sanctuary));
    if (list === undefined || list.ref !== ref) return; // of a list that was replaced
    list.ref = list.againMs = null;
    this.session.tell("following", { sanctuary: hex(sanctuary), count });
  }

  /** A list was refused: what passes is said again, the rest was told. */
  refused({ sanctuary }, { ref, reason, cityMs }, nowMs) {
    if (reason === "skew") this.session.offsetMs = cityMs - nowMs;
    const list = this.#lists.get(hex(sanctuary));
    if (list === undefined || list.ref !== ref) return;
    list.ref = null;
    const waitMs = SIGN_ANEW.has(reason) ? AGAIN_MS : ASK_AGAIN_MS[reason];
    list.againMs = waitMs === undefined ? null : nowMs + waitMs;
  }

  async tick(nowMs) {
    for (const { sanctuary, againMs } of this.#lists.values()) {
      if (againMs === null || againMs > nowMs) continue;
      if (this.#isSeated(sanctuary)) await this.#say(sanctuary, nowMs);
      else this.#lists.get(hex(sanctuary)).againMs = null; // said with the next seat
    }
  }

  /** When `tick` is wanted next: Unix ms, nil for never. */
  deadlines() {
    return [...this.#lists.values()].map(({ againMs }) => againMs);
  }
}
