/**
 * The plane: three canvases in a figure. One `requestAnimationFrame` for all of them, asked for only when
 * something differs; marks and fades are pure (`crowd.js`), here is the shell with clock and screen.
 */

import { Change, STILL_STEP_MS } from "./crowd.js";
import { drawGround } from "./ground.js";
import { Others } from "./others.js";
import { readTokens } from "./tokens.js";
import { NOBODY, You } from "./you.js";

/** More pixels than this a CSS pixel cost time and show nothing. */
const RATIO_MAX = 2;
const LAYERS = ["ground", "others", "you"];

/** Unix ms that never go back while the page lives: the clock of everything on the plane. */
export function pageNowMs() {
  return performance.timeOrigin + performance.now();
}

export class Plane {
  /** Frames drawn so far: with nobody moving it stays as it is. */
  frames = 0;
  #figure;
  #crowd;
  /** @type {Record<string, CanvasRenderingContext2D>} */
  #contexts = {};
  #dirty = { ground: true, others: true, you: true };
  #size = { width: 0, height: 0 };
  #ratio = 0;
  #tokens = null;
  #own = NOBODY;
  #followed = new Set();
  #focused = null;
  #others = new Others();
  #you = new You();
  #frame = null;
  #timer = null;
  #drawnMs = -Infinity;
  #media = {
    dark: matchMedia("(prefers-color-scheme: dark)"),
    forced: matchMedia("(forced-colors: active)"),
    still: matchMedia("(prefers-reduced-motion: reduce)"),
  };
  #resized = new ResizeObserver(() => this.#fit());
  #retheme = () => this.retheme();
  #refit = () => this.#fit();

  /**
   * @param {HTMLElement} figure gets the canvases; its size is the plane's
   * @param {{crowd: import("./crowd.js").Crowd}} of `crowd`: feed it with `pageNowMs()`, then `refresh()`
   */
  constructor(figure, { crowd }) {
    this.#figure = figure;
    this.#crowd = crowd;
    for (const layer of LAYERS) {
      const canvas = document.createElement("canvas");
      canvas.setAttribute("aria-hidden", "true");
      canvas.dataset.layer = layer;
      Object.assign(canvas.style, {
        position: "absolute", inset: "0", width: "100%", height: "100%", pointerEvents: "none",
      });
      figure.append(canvas);
      this.#contexts[layer] = canvas.getContext("2d");
    }
    for (const query of Object.values(this.#media)) query.addEventListener("change", this.#retheme);
    this.#resized.observe(figure);
    addEventListener("resize", this.#refit); // a zoom changes the ratio, and perhaps nothing else
    this.#fit();
  }

  get size() {
    return this.#size;
  }

  /** The colours of the present theme, for mirrors too. */
  get tokens() {
    this.#tokens ??= readTokens(this.#figure, this.#media.forced.matches);
    return this.#tokens;
  }

  /** One's own mark. */
  get you() {
    return this.#own;
  }

  /** @param {Partial<import("./you.js").Own>} own what is left out stays as it was */
  set you(own) {
    this.#own = { ...this.#own, ...own };
    if (this.#own.feeling === null) this.#you.clear();
    this.#mark("you");
  }

  /** The way of the hand, oldest first; the mark goes to its end. @param {import("./feeling.js").Feeling[]} feelings */
  trace(feelings) {
    for (const feeling of feelings) this.#you.trace(feeling, pageNowMs());
    if (feelings.length > 0) this.you = { feeling: feelings.at(-1) };
  }

  /** Whose names come first when there are many. @param {Iterable<string>} citizens hexadecimal */
  set followed(citizens) {
    this.#followed = new Set(citizens);
    this.#mark("others");
  }

  /** The one whom the list points at. @param {string|null} citizen hexadecimal */
  set focused(citizen) {
    this.#focused = citizen;
    this.#mark("others");
  }

  /** Draw what the crowd has become. Cheap: call it after every batch of events. */
  refresh() {
    const change = this.#crowd.takeChange();
    if (change === Change.NONE) return;
    const waitMs = this.#drawnMs + STILL_STEP_MS - pageNowMs();
    if (change === Change.MOVED && this.#media.still.matches && waitMs > 0) this.#wake(waitMs);
    else this.#mark("others");
  }

  /** The page's theme has changed: read its colours again. */
  retheme() {
    this.#tokens = null;
    this.#others.forget();
    this.#mark(...LAYERS);
  }

  /** The figure stays; the canvases and every timer go. */
  close() {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
    this.#resized.disconnect();
    removeEventListener("resize", this.#refit);
    for (const query of Object.values(this.#media)) query.removeEventListener("change", this.#retheme);
    for (const { canvas } of Object.values(this.#contexts)) canvas.remove();
  }

  #fit() {
    const { clientWidth: width, clientHeight: height } = this.#figure;
    const ratio = Math.min(devicePixelRatio || 1, RATIO_MAX);
    const isSame = width === this.#size.width && height === this.#size.height && ratio === this.#ratio;
    if (isSame) return;
    this.#ratio = ratio;
    this.#size = { width, height };
    for (const context of Object.values(this.#contexts)) {
      context.canvas.width = Math.round(width * ratio);
      context.canvas.height = Math.round(height * ratio);
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    this.#mark(...LAYERS);
  }

  #mark(...layers) {
    for (const layer of layers) this.#dirty[layer] = true;
    this.#frame ??= requestAnimationFrame(() => this.#draw());
  }

  #wake(waitMs) {
    clearTimeout(this.#timer);
    // a timer may be early by a fraction of a millisecond, and would then draw twice
    this.#timer = setTimeout(() => this.#mark("others"), Math.ceil(waitMs) + 1);
  }

  #draw() {
    this.#frame = null;
    if (this.#size.width === 0) return;
    this.frames += 1;
    const nowMs = pageNowMs();
    const isStill = this.#media.still.matches;
    if (this.#dirty.ground) drawGround(this.#cleared("ground"), this.#size, this.tokens);
    if (this.#dirty.others) this.#drawOthers(nowMs, isStill);
    if (this.#dirty.you) {
      const { taken } = this.#others;
      this.#you.draw(this.#cleared("you"), { ...this.#scene(nowMs, isStill), own: this.#own, taken });
    }
    this.#dirty.ground = this.#dirty.you = false;
    if (this.#dirty.others) this.#mark("others");
  }

  #drawOthers(nowMs, isStill) {
    const { isMoving, wakeMs } = this.#crowd.advance(nowMs, { isStill });
    const scene = this.#scene(nowMs, isStill);
    const { side } = this.#you;
    this.#others.draw(this.#cleared("others"), {
      ...scene, crowd: this.#crowd, followed: this.#followed, focused: this.#focused,
      coverOfYou: (taken) => this.#you.cover(this.#contexts.you, { ...scene, own: this.#own, taken }),
    });
    if (this.#you.side !== side) this.#dirty.you = true; // somebody came where one's word was
    this.#drawnMs = nowMs;
    this.#dirty.others = isMoving;
    clearTimeout(this.#timer);
    if (!isMoving && wakeMs !== null) this.#wake(Math.max(0, wakeMs - nowMs));
  }

  #scene(nowMs, isStill) {
    return { size: this.#size, tokens: this.tokens, nowMs, isStill };
  }

  #cleared(layer) {
    const context = this.#contexts[layer];
    context.clearRect(0, 0, this.#size.width, this.#size.height);
    return context;
  }
}
