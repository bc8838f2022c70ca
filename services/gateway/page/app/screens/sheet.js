/** The sheet: one at a time, beside the plane or over it; focus goes back to what opened it. */

import { byId, setText } from "../dom.js";

const phone = matchMedia("(max-width: 699px)");

/** On a phone the sheet lies over everything but the foot: what is under it takes no focus. */
function cover(isCovered) {
  for (const part of document.querySelectorAll("header, nav, main, aside")) part.inert = isCovered;
}

export class Sheet {
  #opener = null;
  #draw = null;
  #close = () => {};

  constructor() {
    byId("sheet-close").addEventListener("click", () => this.close());
  }

  get isOpen() {
    return !byId("sheet").hidden;
  }

  /**
   * @param {string} title
   * @param {object} of
   * @param {(body: HTMLElement) => void} of.draw called at once and with every `refresh`
   * @param {() => void} [of.onClose]
   */
  open(title, { draw, onClose = () => {} }) {
    if (this.isOpen) this.#close();
    else this.#opener = document.activeElement;
    this.#draw = draw;
    this.#close = onClose;
    setText(byId("sheet-h"), title);
    const body = byId("sheet-body");
    delete body.dataset.shows;
    body.replaceChildren();
    byId("sheet").hidden = false;
    cover(phone.matches);
    byId("sheet").scrollTop = 0;
    draw(body);
    byId("sheet-h").focus({ preventScroll: true });
  }

  /** What it shows may have changed. */
  refresh() {
    if (this.isOpen) this.#draw(byId("sheet-body"));
  }

  close() {
    if (!this.isOpen) return;
    byId("sheet").hidden = true;
    cover(false);
    this.#close();
    const opener = this.#opener;
    if (opener?.isConnected) opener.focus({ preventScroll: true });
  }
}
