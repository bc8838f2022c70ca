/** The entry: which screen stands, and what a press does. */

import { fromHex, hex } from "../client/bytes.js";
import { hasEd25519, hasWebCrypto } from "../client/ed25519.js";
import { Crowd } from "../plane/crowd.js";
import { Pad } from "../plane/pad.js";
import { pageNowMs, Plane } from "../plane/plane.js";
import { mayName, readAddress, sanctuaryNamed } from "./address.js";
import { copy } from "./copy.js";
import { button, byId, make, rebuild, setText } from "./dom.js";
import { Keystore } from "./keys.js";
import { Link } from "./link.js";
import { keysOf, SEED_BYTES } from "./recovery.js";
import { drawArrival } from "./screens/arrive.js";
import { ConsentPanel } from "./screens/consent.js";
import { Foot } from "./screens/foot.js";
import { drawHeader, drawLinkDetails, kindWords, watchedTitles } from "./screens/header.js";
import { drawKeep } from "./screens/keep.js";
import { drawKeys, keysWords } from "./screens/keys.js";
import { drawNotice, speakUp } from "./screens/notice.js";
import { People, roomAloud } from "./screens/people.js";
import { drawSomebody, PersonSheet } from "./screens/person.js";
import { drawPlaces, listSanctuaries } from "./screens/places.js";
import { drawWords, Self } from "./screens/self.js";
import { Sheet } from "./screens/sheet.js";
import { Visit } from "./visit.js";
import { Watching } from "./watching.js";

const TICK_MS = 250;
/** Esc twice within this withdraws everything. */
const TWICE_MS = 600;
const LIST_AGAIN_MS = 2000;

class Page {
  #store;
  /** @type {Visit|null} with keys */
  #visit = null;
  /** @type {Watching|null} without */
  #watching = null;
  /** The stage that is watched, in hexadecimal: its name comes with the list. */
  #watched = "";
  #plane = null;
  #pad = null;
  #list = null;
  #sheet = new Sheet();
  #people = null;
  #foot = null;
  #panel = null;
  #self = null;
  #isKeepLater = false;
  /** Whether keys were made on this visit: then nobody is welcomed back. */
  #isNew = false;
  #isDrawing = false;
  /** What the plane was told last. */
  #followed = "";
  #escapedMs = -Infinity;
  #can = "ready";

  async begin() {
    if (!hasWebCrypto) this.#can = "no webcrypto";
    else if (!(await hasEd25519())) this.#can = "no ed25519";
    this.#store = await Keystore.open();
    this.#wire();
    this.#listen();
    await Promise.race([this.#fetchList(), new Promise((go) => setTimeout(go, TICK_MS))]);
    await this.#route();
    setInterval(() => this.#tick(), TICK_MS);
  }

  get #screen() {
    return document.body.dataset.screen;
  }

  // ── where one is ──────────────────────────────────────────────────────────────────────────────

  async #route() {
    const { watch, room } = readAddress(location.search);
    if (watch !== null && mayName(watch)) await this.#watch(watch);
    else if (this.#store.kept === null || this.#can !== "ready") this.#arrive();
    else {
      this.#enter();
      if (room === null) this.#choose();
      else await this.#goTo(await sanctuaryNamed(room));
    }
  }

  /** @param {string} search of the new address, with its question mark; "" for none */
  #address(search) {
    if (location.search !== search) history.pushState(null, "", search || location.pathname);
  }

  #show(screen) {
    this.#sheet.close();
    const isFirst = document.activeElement === document.body;
    document.body.dataset.screen = screen;
    this.#draw({ isNow: true });
    if (!isFirst) byId("title").focus({ preventScroll: true }); // a press led here: say where one is
  }

  /** The first visit: something public to look at, and keys of one's own. */
  #arrive() {
    const stage = this.#list?.find((listed) => listed.public && listed.kind === "stage");
    if (stage !== undefined) this.#look(fromHex(stage.sanctuary));
    else this.#stand(new Crowd());
    drawArrival({
      can: this.#can,
      onMake: () => this.#make(),
      onWords: (seed) => this.#restore(seed),
      onWatch: stage === undefined ? null : () => {
        this.#address(`?watch=${stage.sanctuary}`);
        this.#watch(stage.sanctuary);
      },
    });
    this.#show("arrive");
  }

  async #watch(name) {
    const stage = await sanctuaryNamed(name);
    this.#watched = hex(stage);
    this.#look(stage);
    byId("watching").replaceChildren(copy.watching,
      button("Take part", () => {
        this.#address(`?room=${hex(stage)}`);
        this.#route();
      }, { className: "plain" }));
    this.#show("watch");
  }

  #look(stage) {
    this.#end();
    this.#watching = new Watching(stage, () => this.#changed("crowd"));
    this.#stand(this.#watching.crowd);
    this.#people = new People(null);
  }

  /** What stood before is over. */
  #end() {
    this.#watching?.close();
    this.#visit?.close();
    this.#watching = this.#visit = null;
  }

  /** A plane for this crowd. */
  #stand(crowd) {
    this.#pad?.close();
    this.#plane?.close();
    const figure = byId("plane");
    this.#plane = new Plane(figure, { crowd });
    this.#pad = new Pad(figure, this.#plane, {
      onFeel: (feeling) => this.#feel(feeling),
      onSpeak: () => this.#speak(),
      onWords: () => this.#words(),
    });
    this.#pad.isEnabled = false; // until one is where one may speak
  }

  // ── keys ──────────────────────────────────────────────────────────────────────────────────────

  async #make() {
    const seed = crypto.getRandomValues(new Uint8Array(SEED_BYTES));
    await this.#store.take(await keysOf(seed), { seed });
    this.#isNew = true;
    await this.#route();
  }

  async #restore(seed) {
    await this.#store.take(await keysOf(seed));
    await this.#route();
  }

  #enter() {
    if (this.#visit !== null) return;
    this.#end();
    this.#visit = new Visit(this.#store, (what) => this.#changed(what));
    this.#stand(this.#visit.crowd);
    this.#people = new People((person) => this.#person(person.citizen));
    this.#foot = new Foot((audience) => this.#consent(audience));
    this.#panel = new ConsentPanel(this.#visit, this.#foot, {
      onWithdraw: (options) => this.#withdraw(options),
      onPerson: (citizen) => this.#person(citizen),
      onSomebody: () => this.#somebody(),
      placeOf: (grant) => this.#placeOf(grant),
    });
    this.#self?.drop();
  }

  #choose() {
    this.#visit.leave();
    this.#pad.feeling = null;
    this.#address("");
    this.#show("choose");
  }

  async #goTo(sanctuary) {
    this.#visit.goTo(sanctuary);
    this.#pad.feeling = null;
    this.#address(`?room=${hex(sanctuary)}`);
    this.#show("room");
  }

  // ── what a press does ─────────────────────────────────────────────────────────────────────────

  #wire() {
    this.#self = new Self({
      onWord: (labels) => this.#label(labels),
      onNote: (text) => this.#visit.speaking.note(text),
      onWords: () => this.#words(),
    });
    const press = (id, act) => byId(id).addEventListener("click", act);
    press("speak", () => this.#speak());
    press("withdraw", () => this.#withdraw({ isAll: true }));
    press("link", () => this.#linkDetails());
    press("rooms", () => this.#choose());
    press("your-keys", () => this.#keys());
    press("your-grants", () => this.#consent());
    press("somebody", () => this.#somebody());
    press("read", () => {
      const { crowd, says, isCell } = this.#visit ?? this.#watching;
      says.answer(roomAloud(crowd, pageNowMs(), { hasYou: isCell }));
      this.#draw({ isNow: true });
    });
    press("skip-withdraw", (event) => {
      event.preventDefault();
      byId("withdraw").focus();
    });
    const people = byId("people");
    press("skip-people", (event) => {
      event.preventDefault();
      people.focus();
    });
  }

  #listen() {
    addEventListener("popstate", () => this.#route());
    addEventListener("keydown", (event) => this.#key(event));
    for (const type of ["pointerdown", "keydown"]) {
      addEventListener(type, () => this.#visit?.speaking.touch(), { passive: true });
    }
    document.addEventListener("visibilitychange", () => {
      const isVisible = document.visibilityState === "visible";
      this.#visit?.speaking.seen(isVisible);
      if (isVisible) this.#visit?.consentAgain();
    });
    const foot = document.querySelector("footer");
    new ResizeObserver(() => {
      document.documentElement.style.setProperty("--foot", `${foot.offsetHeight}px`);
    }).observe(foot);
  }

  #key(event) {
    if (event.key !== "Escape" || event.defaultPrevented) return;
    if (this.#sheet.isOpen) {
      this.#sheet.close();
      return;
    }
    if (this.#screen === "room" && event.timeStamp - this.#escapedMs <= TWICE_MS) {
      this.#withdraw({ isAll: true });
    }
    this.#escapedMs = event.timeStamp;
  }

  #feel(feeling) {
    this.#visit.move(feeling);
    this.#draw();
  }

  #label(labels) {
    this.#visit.speaking.choose(labels);
    this.#draw({ isNow: true });
    this.#sheet.refresh();
  }

  #speak() {
    const visit = this.#visit;
    if (visit.isWithdrawn) {
      this.#panel.again();
      this.#consent();
    } else if (visit.isSpeaking) {
      this.#self.drop();
      visit.pause();
    } else visit.speak();
  }

  #withdraw(options) {
    this.#self.drop();
    this.#visit.withdraw(options);
    this.#sheet.refresh();
  }

  #act(action, topic) {
    const visit = this.#visit;
    visit?.notices.drop(topic);
    if (action === "speak anyway") visit.speak({ isSure: true });
    else if (action === "speak") visit.speak();
    else if (action === "still here") visit.speaking.touch();
    else if (action === "pause") visit.pause();
    else if (action === "extend") this.#consent();
    else if (action === "rooms") this.#choose();
    this.#draw({ isNow: true });
  }

  // ── sheets ────────────────────────────────────────────────────────────────────────────────────

  #consent(audience = null) {
    this.#sheet.open("Who sees me", { draw: (body) => this.#panel.draw(body, pageNowMs()) });
    this.#panel.reveal(audience);
  }

  /** @param {string} citizen hexadecimal */
  #person(citizen) {
    const sheet = new PersonSheet(this.#visit, citizen);
    this.#plane.focused = citizen;
    this.#sheet.open(this.#visit.nameOf(citizen), {
      draw: (body) => sheet.draw(body, pageNowMs()),
      onClose: () => {
        this.#plane.focused = null;
      },
    });
  }

  #somebody() {
    this.#sheet.open("Somebody", {
      draw: (body) => drawSomebody(body, (citizen) => this.#person(citizen)),
    });
  }

  #words() {
    if (this.#visit?.speaking.feeling === null) return;
    this.#sheet.open("A word for it", {
      draw: (body) => drawWords(body, {
        labels: this.#visit.speaking.labels, onWord: (labels) => this.#label(labels),
      }),
    });
  }

  #linkDetails() {
    this.#sheet.open("Connection", {
      draw: (body) => drawLinkDetails(body, {
        link: this.#link, nowMs: pageNowMs(),
        voiceDelayMs: this.#visit?.speaking.arrivals.delayMs ?? null,
      }),
    });
  }

  #keys() {
    this.#sheet.open("Your keys", {
      draw: (body) => drawKeys(body, {
        store: this.#store, visit: this.#visit, onForget: () => this.#forget(),
      }),
    });
  }

  async #forget() {
    this.#end();
    await this.#store.forget();
    this.#address("");
    await this.#route();
  }

  #placeOf({ sanctuary, audience }) {
    const room = sanctuary === null
      ? "everywhere" : this.#list?.find((listed) => listed.sanctuary === sanctuary)?.name ?? "another room";
    return `${["Members", "Everybody", "Followers", "The press"][audience]}, ${room}`;
  }

  // ── what is on the screen ─────────────────────────────────────────────────────────────────────

  get #link() {
    return (this.#visit ?? this.#watching)?.link ?? new Link();
  }

  #changed(what) {
    this.#plane?.refresh();
    if (what === "crowd" || this.#isDrawing) return;
    this.#isDrawing = true;
    queueMicrotask(() => {
      this.#isDrawing = false;
      this.#draw({ isNow: true });
      this.#sheet.refresh();
    });
  }

  #tick() {
    const visit = this.#visit ?? this.#watching;
    if (this.#screen === "room" || this.#screen === "watch") visit?.tick();
    this.#draw();
    this.#sheet.refresh();
    speakUp(visit, pageNowMs());
  }

  /** @param {{isNow?: boolean}} [options] isNow: a press wants to be seen in the next frame */
  #draw({ isNow = false } = {}) {
    const nowMs = pageNowMs();
    const screen = this.#screen;
    drawHeader({ ...this.#titles(), link: this.#link, nowMs });
    const current = this.#visit ?? this.#watching;
    drawNotice(screen === "room" || screen === "watch" ? current : null, nowMs,
      (action, topic) => this.#act(action, topic));
    if (screen === "room" || screen === "watch") {
      this.#people.draw(current.crowd, nowMs, { isNow, hasYou: current.isCell });
    }
    if (screen === "room") this.#drawRoom(nowMs, isNow);
    if (screen === "choose" || screen === "room") this.#drawNav();
  }

  #drawRoom(nowMs, isNow) {
    const visit = this.#visit;
    this.#self.draw(visit, nowMs, { isNow });
    this.#foot.draw(visit, nowMs, { isNow });
    const isSeen = visit.mirrors(nowMs).some(({ tier }) => tier > 0);
    const { acknowledged } = visit.speaking.arrivals;
    if (this.#pad.isEnabled !== visit.maySpeak) this.#pad.isEnabled = visit.maySpeak;
    const followed = visit.followed.join(" ");
    if (this.#followed !== followed) this.#plane.followed = visit.followed;
    this.#followed = followed;
    this.#own({ citizen: visit.citizen, acknowledged, isSeen });
    this.#drawKeep(visit);
  }

  /** The plane draws a frame for what is new only. */
  #own(own) {
    const before = this.#plane.you;
    if (Object.entries(own).some(([name, value]) => before[name] !== value)) this.#plane.you = own;
  }

  #drawKeep(visit) {
    const box = byId("keep");
    const isDue = this.#store.kept.seed !== null && !this.#isKeepLater
      && visit.speaking.arrivals.acknowledged !== null;
    if (!isDue && (box.hidden || this.#store.kept.seed !== null)) return;
    if (isDue && box.hidden) {
      drawKeep(box, {
        store: this.#store,
        onLater: () => {
          this.#isKeepLater = true;
          box.hidden = true;
        },
        onKept: () => {
          box.hidden = true;
        },
      });
    }
    if (isDue) box.hidden = false;
  }

  #drawNav() {
    const current = this.#visit.sanctuary === null ? null : hex(this.#visit.sanctuary);
    drawPlaces({ list: this.#list, current, onChoose: ({ sanctuary }) => this.#goTo(fromHex(sanctuary)) });
    setText(byId("your-keys-state"), keysWords(this.#store));
    const grants = this.#visit.consent.grants(pageNowMs()).length;
    const exceptions = this.#visit.consent.exceptions.size;
    setText(byId("your-grants-state"), `${plural(grants, "grant")}, ${plural(exceptions, "exception")}`);
  }

  #titles() {
    const visit = this.#visit;
    if (this.#screen === "watch") {
      return watchedTitles({
        list: this.#list, sanctuary: this.#watched, isShown: this.#watching.isSettled,
      });
    }
    if (this.#screen === "choose") {
      return { title: "Synchronia", subtitle: this.#isNew ? copy.welcome : copy.welcomeBack };
    }
    if (this.#screen !== "room") return { title: "Synchronia", subtitle: "" };
    const listed = this.#list?.find(({ sanctuary }) => sanctuary === hex(visit.sanctuary));
    const room = visit.policy ?? listed;
    return room === undefined
      ? { title: "Synchronia", subtitle: "" } : { title: room.name, subtitle: kindWords(room) };
  }

  async #fetchList() {
    try {
      this.#list = await listSanctuaries();
      if (this.#visit !== null) this.#draw();
      else if (this.#screen === "arrive" && this.#watching === null && this.#plane !== null) this.#arrive();
    } catch {
      setTimeout(() => this.#fetchList(), LIST_AGAIN_MS); // the city starts, or is not there
    }
  }
}

const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

new Page().begin();
