/** The foot: three mirrors, speaking, and the withdrawal. Always on the screen. */

import { drawMirror, mirrorKey } from "../../plane/mirror.js";
import { readTokens } from "../../plane/tokens.js";
import { byId, make, setAttribute, setText } from "../dom.js";

/** Mirrors follow the hand no more often than this. */
const EVERY_MS = 250;

export class Foot {
  /** @type {{button: HTMLElement, canvas: HTMLCanvasElement, parts: Record<string, HTMLElement>}[]} */
  #rows = [];
  #tokens = null;
  #drawnMs = -Infinity;
  #onMirror;

  /** @param {(audience: number, mirror: HTMLElement) => void} onMirror a mirror was pressed */
  constructor(onMirror) {
    this.#onMirror = onMirror;
    for (const media of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
      matchMedia(media).addEventListener("change", () => this.retheme());
    }
    addEventListener("resize", () => this.retheme());
  }

  /** Colours or sizes are new: every mirror is drawn again. */
  retheme() {
    this.#tokens = null;
    this.#drawnMs = -Infinity;
  }

  get tokens() {
    this.#tokens ??= readTokens(document.body, matchMedia("(forced-colors: active)").matches);
    return this.#tokens;
  }

  /**
   * @param {import("../visit.js").Visit} visit
   * @param {{isNow?: boolean}} [options] isNow: a press wants to be seen in the next frame
   */
  draw(visit, nowMs, { isNow = false } = {}) {
    if (!isNow && nowMs - this.#drawnMs < EVERY_MS) return;
    const isFresh = this.#tokens === null;
    this.#drawnMs = nowMs;
    const mirrors = visit.mirrors(nowMs);
    if (this.#rows.length === 0) this.#build(mirrors);
    mirrors.forEach((mirror, i) => {
      const { button, canvas, parts } = this.#rows[i];
      this.paint(canvas, mirror, visit, isFresh);
      setText(parts.who, mirror.who);
      setText(parts.tier, [mirror.words, mirror.untilShort].filter(Boolean).join(", "));
      setText(parts.means, mirror.means);
      setText(parts.until, mirror.until === "" ? "" : `until ${mirror.until}`);
      setAttribute(button, "aria-label",
        `${mirror.who}: ${mirror.words}. ${mirror.means} ${mirror.until && `Until ${mirror.until}.`} Change`);
      setAttribute(button, "data-tier", String(mirror.tier));
    });
    this.#drawActs(visit);
  }

  /** One mirror on a canvas of its own, if it shows something new. */
  paint(canvas, mirror, visit, isFresh = false) {
    const of = { tier: mirror.tier, feeling: visit.speaking.feeling, citizen: visit.citizen };
    const key = mirrorKey(of);
    if (!isFresh && canvas.dataset.shows === key) return;
    if (canvas.clientWidth === 0) return;
    canvas.dataset.shows = key;
    drawMirror(canvas, of, this.tokens);
  }

  #build(mirrors) {
    this.#rows = mirrors.map(({ audience }) => {
      const canvas = make("canvas", { "aria-hidden": "true" });
      const parts = {
        who: make("b", null), tier: make("span", { className: "tier" }),
        until: make("span", { className: "until" }), means: make("span", { className: "means" }),
      };
      const button = make("button", { type: "button", className: "mirror" },
        canvas, parts.who, parts.tier, parts.until, parts.means);
      button.addEventListener("click", () => this.#onMirror(audience, button));
      return { button, canvas, parts };
    });
    byId("mirror-row").replaceChildren(...this.#rows.map(({ button }) => button));
  }

  #drawActs(visit) {
    const speak = byId("speak");
    const { withdrawal } = visit.desk;
    const words = visit.isSpeaking ? "Pause speaking" : "Start speaking";
    setText(speak, withdrawal === null ? words : "Let them see me again");
    setAttribute(speak, "aria-pressed", withdrawal === null ? String(visit.isSpeaking) : "false");
    speak.disabled = !visit.maySpeak && withdrawal === null;
    const withdraw = byId("withdraw");
    setAttribute(withdraw, "data-step", withdrawal?.step ?? null);
    const [text, times] = withdrawal === null
      ? ["Withdraw everything", ""]
      : [withdrawal.step === "asked" ? "Withdrawing…" : "Withdrawn", withdrawal.times || "asked"];
    if (withdraw.dataset.says === text + times) return;
    withdraw.dataset.says = text + times;
    withdraw.replaceChildren(text, ...(times === "" ? [] : [make("small", null, times)]));
  }
}
