/** Watching a public stage without keys: a connection that only looks. A shell without any document. */

import { Connection } from "../client/connection.js";
import { Crowd } from "../plane/crowd.js";
import { pageNowMs } from "../plane/plane.js";
import { Link } from "./link.js";
import { Notices } from "./notices.js";
import { Says } from "./says.js";
import { copy } from "./copy.js";
import { secondsOf } from "./link.js";
import { liveUrl } from "./visit.js";

export class Watching {
  crowd = new Crowd();
  link = new Link();
  notices = new Notices();
  says = new Says();
  alarm = "";
  policy = null;
  isSpeaking = false;
  isWithdrawn = false;
  /** Whether one of the cells is oneself. */
  isCell = false;
  /** Whether the stage's snapshot has come: of what cannot be watched none comes. */
  isSettled = false;
  #connection;

  /**
   * @param {Uint8Array} stage 16 bytes
   * @param {() => void} onChange
   */
  constructor(stage, onChange) {
    this.#connection = new Connection({
      url: liveUrl(), watch: stage,
      onEvent: (event) => {
        this.#happened(event, pageNowMs());
        onChange();
      },
    });
    this.#connection.open();
  }

  #happened(event, nowMs) {
    this.crowd.see(event, nowMs);
    if (event.type === "state") {
      this.link.changed(event.state, nowMs);
      if (this.link.state === "lost") {
        this.crowd.gap(nowMs);
        this.notices.drop("slow");
        this.notices.put("no connection", copy.reconnecting);
      } else if (event.state === "live") this.notices.drop("no connection");
    } else if (event.type === "close") this.link.closed(event.reason);
    else if (event.type === "policy") this.policy = event.policy;
    else if (event.type === "rung") this.#slowed(event.rung);
    else if (event.type === "heard") this.link.heard(nowMs);
    else if (event.type === "gap") this.link.missed(nowMs);
    else if (event.type === "snapshot") this.#settled(event, nowMs);
  }

  #slowed(rung) {
    this.link.rung = rung;
    if (rung === "every") this.notices.drop("slow");
    else this.notices.put("slow", copy.slow(rung));
  }

  #settled(event, nowMs) {
    this.isSettled = true;
    const gap = this.link.settled(event, nowMs);
    if (gap === null) return;
    const text = gap.isWhole ? copy.backWhole : copy.backMissing(secondsOf(gap));
    this.notices.put("back", text, { untilMs: nowMs + 15_000 });
    this.says.say("link", text);
  }

  tick() {}

  close() {
    this.#connection.close();
  }
}
