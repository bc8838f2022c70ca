/** The consent panel: who sees what of one, until when; less at once, more after reading. */

import { Audience, Tier } from "../../client/records.js";
import { pageNowMs } from "../../plane/plane.js";
import { hex } from "../../client/bytes.js";
import { button, byId, make, rebuild } from "../dom.js";
import { followers, sentence, TIER_WORDS, whom, wideningWords, widens } from "../mirrors.js";
import { ends, untilPhrase } from "../times.js";
import { audienceKey } from "../allowing.js";
import { told } from "./told.js";

export class ConsentPanel {
  /** What is being read before it is signed. @type {{audience: number, tier: number, end: string}|null} */
  #draft = null;
  /** Whether the grants of before are being read. */
  #isAgain = false;
  #visit;
  #foot;
  #on;

  /**
   * @param {import("../visit.js").Visit} visit
   * @param {import("./foot.js").Foot} foot paints the mirrors
   * @param {object} on
   * @param {(options: {isAll: boolean}) => void} on.onWithdraw
   * @param {(citizen: string) => void} on.onPerson hexadecimal
   * @param {() => void} on.onSomebody a person who is not on the screen
   * @param {(grant: object) => string} on.placeOf whom and where a grant is for
   */
  constructor(visit, foot, on) {
    this.#visit = visit;
    this.#foot = foot;
    this.#on = on;
  }

  /** Begin with the grants of before the withdrawal. */
  again() {
    this.#isAgain = true;
  }

  /** Bring an audience into view. @param {number|null} audience */
  reveal(audience) {
    const section = byId("sheet-body").querySelector(`[data-audience="${audience}"]`);
    section?.scrollIntoView({ block: "nearest" });
  }

  /** @param {HTMLElement} body */
  draw(body, nowMs) {
    const visit = this.#visit;
    const mirrors = visit.mirrors(nowMs);
    const { withdrawal } = visit.desk;
    const before = visit.allowing.withdrawn(nowMs);
    const key = JSON.stringify([
      mirrors, this.#draft, this.#isAgain, before, withdrawal, [...visit.consent.exceptions],
      followers(visit.consent, nowMs), visit.consent.grants(nowMs),
      mirrors.map(({ audience }) => visit.desk.about(audienceKey(audience), nowMs)),
      visit.desk.about("again", nowMs), visit.consent.isKnown, visit.desk.withdrawals,
    ], (_, value) => (value instanceof Uint8Array ? [...value] : value));
    rebuild(body, key, () => [
      ...this.#again(before, nowMs),
      ...mirrors.map((mirror) => this.#audience(mirror, nowMs)),
      this.#exceptions(nowMs),
      this.#elsewhere(nowMs),
      this.#withdrawal(withdrawal),
    ].filter((part) => part !== null));
    body.querySelectorAll("canvas").forEach((canvas, i) => this.#foot.paint(canvas, mirrors[i], visit));
  }

  #redraw() {
    this.draw(byId("sheet-body"), pageNowMs());
  }

  // ── an audience ───────────────────────────────────────────────────────────────────────────────

  #audience(mirror, nowMs) {
    const { audience, who, granted, isFixed } = mirror;
    const until = granted === Tier.WITHHELD ? "" : `, ${untilPhrase(mirror.untilMs, nowMs)}`;
    return make("section", { "aria-label": who, "data-audience": String(audience) },
      make("div", { className: "who" },
        make("canvas", { "aria-hidden": "true" }),
        make("h3", null, who),
        make("p", { className: "small" },
          isFixed ? fixedWords() : `Allowed: ${TIER_WORDS[granted]}${until}. Now: ${mirror.words}.`)),
      isFixed ? null : this.#choice(mirror, nowMs),
      audience === Audience.FOLLOWERS ? this.#followers(nowMs) : null,
      this.#draft?.audience === audience ? this.#question(mirror, nowMs) : null,
      told(this.#visit.desk.about(audienceKey(audience), nowMs)));
  }

  #choice(mirror, nowMs) {
    const most = this.#visit.policy?.tierMax ?? Tier.WITHHELD;
    return make("div", { className: "choice", role: "group", "aria-label": `What ${whom(mirror.audience)} may see` },
      ...TIER_WORDS.map((words, tier) => button(words, () => this.#choose(mirror, tier, nowMs), {
        "data-k": `${mirror.audience} ${tier}`,
        "aria-pressed": String((this.#draft?.audience === mirror.audience ? this.#draft.tier : mirror.granted) === tier),
        disabled: tier > most || !this.#visit.consent.isKnown,
      })));
  }

  #choose(mirror, tier, nowMs) {
    const wanted = { tier, untilMs: mirror.untilMs };
    if (tier === mirror.granted && this.#draft === null && tier === Tier.WITHHELD) return;
    if (tier < mirror.granted && !widens(mirror, wanted)) {
      this.#draft = null;
      this.#visit.allowing.allow({ audience: mirror.audience, ...wanted, isNarrowing: true });
    } else this.#draft = { audience: mirror.audience, tier, end: ends(nowMs)[0].key };
    this.#redraw();
    byId("sheet-body").querySelector(".ask")?.scrollIntoView({ block: "nearest" });
  }

  /** What widening means, to be read, with its end; then the press. */
  #question(mirror, nowMs) {
    const { audience, tier, end } = this.#draft;
    const choices = ends(nowMs);
    const wanted = { tier, untilMs: choices.find(({ key }) => key === end).untilMs };
    const select = make("select", {
      onchange: () => {
        this.#draft = { ...this.#draft, end: select.value };
        this.#redraw();
      },
      "data-k": "end",
    }, ...choices.map(({ key, words }) => make("option", { value: key, selected: key === end }, words)));
    return make("div", { className: "ask" },
      make("label", { className: "field" }, "For how long?", select),
      make("p", null, sentence(audience, wanted, nowMs)),
      tier === Tier.FULL ? this.#name() : null,
      button(wideningWords(audience, wanted, nowMs), () => {
        this.#draft = null;
        this.#visit.allowing.allow({ audience, ...wanted, isNarrowing: !widens(mirror, wanted) });
        this.#redraw();
      }, { className: "main", "data-k": "yes" }),
      button("Leave it as it is", () => {
        this.#draft = null;
        this.#redraw();
      }, { className: "text", "data-k": "no" }));
  }

  #name() {
    const input = make("input", {
      type: "text", maxLength: 40, value: this.#visit.name, autocomplete: "nickname", "data-k": "name",
      onchange: () => this.#visit.rename(input.value.trim()),
    });
    return make("label", { className: "field" },
      "By which name? Only those who see you in full read it. It may stay empty.", input);
  }

  #followers(nowMs) {
    const visit = this.#visit;
    const allowed = followers(visit.consent, nowMs);
    return make("div", null,
      ...allowed.map(({ person, untilMs }) => make("p", { className: "row" },
        make("span", null, `${visit.nameOf(hex(person))}, ${untilPhrase(untilMs, nowMs)}`),
        button("Change", () => this.#on.onPerson(hex(person)), { className: "text" }))),
      make("p", { className: "row" },
        make("span", { className: "small" }, allowed.length === 0 ? "Nobody may follow you yet." : ""),
        button("Let somebody follow", () => this.#on.onSomebody(), { className: "text" })));
  }

  // ── persons ───────────────────────────────────────────────────────────────────────────────────

  #exceptions(nowMs) {
    const exceptions = [...this.#visit.consent.exceptions.values()];
    const isPublic = this.#visit.policy?.public === true;
    return make("section", { "aria-label": "Exceptions" },
      make("h3", null, "Exceptions"),
      ...exceptions.map(({ person, tier, untilMs }) => make("p", { className: "row" },
        make("span", null, `${this.#visit.nameOf(hex(person))}: at most ${TIER_WORDS[tier]}, ${untilPhrase(untilMs, nowMs)}`),
        button("Change", () => this.#on.onPerson(hex(person)), { className: "text" }))),
      make("p", { className: "small" }, exceptions.length === 0
        ? "None. Press a name under “Who you see” to show one person less than the others."
        : "They see at most this, whatever the others see."),
      isPublic
        ? make("p", { className: "small" }, "This stage is public: whoever watches without an account cannot be excepted.")
        : null);
  }

  /** What stands for other rooms, or for all of them. */
  #elsewhere(nowMs) {
    const here = hex(this.#visit.sanctuary);
    const grants = this.#visit.consent.grants(nowMs).filter(({ sanctuary }) => sanctuary !== here);
    if (grants.length === 0) return null;
    return make("section", { "aria-label": "Elsewhere" },
      make("h3", null, "Elsewhere"),
      ...grants.map((grant) => make("p", { className: "row" },
        make("span", null, `${this.#on.placeOf(grant)}: ${TIER_WORDS[grant.tier]}, ${untilPhrase(grant.untilMs, nowMs)}`),
        button("Withdraw", () => this.#visit.allowing.withdrawGrant(grant), { className: "text" }))));
  }

  // ── withdrawing, and again ────────────────────────────────────────────────────────────────────

  #withdrawal(withdrawal) {
    const rooms = this.#visit.desk.withdrawals.filter((each) => each !== withdrawal);
    return make("section", { "aria-label": "Withdraw" },
      ...[withdrawal, ...rooms].filter(Boolean).map((each) => steps(each)),
      withdrawal === null
        ? button("Withdraw everything", () => this.#on.onWithdraw({ isAll: true }), { className: "stop", "data-k": "all" })
        : button("Let them see me again", () => {
            this.#isAgain = true;
            this.#redraw();
          }, { className: "plain", "data-k": "again" }),
      button("Withdraw from this room", () => this.#on.onWithdraw({ isAll: false }), {
        className: "plain", "data-k": "room",
      }));
  }

  #again(before, nowMs) {
    const step = told(this.#visit.desk.about("again", nowMs));
    if (!this.#isAgain) return step === null ? [] : [make("section", null, step)];
    if (before.length === 0) {
      return [make("section", null,
        make("p", null, "Nothing was allowed before, or it has ended. Choose below who may see you."))];
    }
    return [make("section", { "aria-label": "Let them see me again" },
      make("p", null, "These grants would be made anew:"),
      make("ul", null, ...before.map((grant) =>
        make("li", null, `${this.#on.placeOf(grant)}: ${TIER_WORDS[grant.tier]}, ${untilPhrase(grant.untilMs, nowMs)}`))),
      button("Let them see me again", () => {
        this.#isAgain = false;
        this.#visit.allowing.again();
        this.#redraw();
      }, { className: "main", "data-k": "again yes" }))];
  }
}

function fixedWords() {
  return "Nothing. Not even that you are here. Nobody outside can be let in here.";
}

/** asked, acted, recorded: each as far as it came. */
function steps(withdrawal) {
  const acted = withdrawal.actedAfterMs === null ? "acted …" : `acted ${withdrawal.actedAfterMs} ms: “No byte of yours leaves any more.”`;
  const recorded = withdrawal.recordedAfterMs === null
    ? "recorded …" : `recorded ${withdrawal.recordedAfterMs} ms: “Written down; it stays so.”`;
  return make("ol", { className: "steps" },
    make("li", null, "asked"), make("li", null, acted), make("li", null, recorded));
}
