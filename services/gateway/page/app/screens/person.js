/** One person: what they see of you at most, whether they may follow you, whether you follow them. */

import { Tier } from "../../client/records.js";
import { followerKey } from "../allowing.js";
import { button, make, rebuild } from "../dom.js";
import { ends, untilPhrase } from "../times.js";
import { told } from "./told.js";

const CITIZEN = /^[0-9a-f]{32}$/;
const TIERS = ["nothing", "counted", "a cell", "as others"];

export class PersonSheet {
  #visit;
  #person;
  #name;
  /** What is read before it is signed: a tier that shows more, or `follow`. */
  #draft = null;
  #end = ends(0)[0].key;

  /**
   * @param {import("../visit.js").Visit} visit
   * @param {string} person hexadecimal
   */
  constructor(visit, person) {
    this.#visit = visit;
    this.#person = person;
    this.#name = visit.nameOf(person);
  }

  /** @param {HTMLElement} body */
  draw(body, nowMs) {
    const visit = this.#visit;
    const person = this.#person;
    const standing = visit.consent.exceptions.get(`${person}/any`)?.tier ?? Tier.FULL;
    const limited = visit.desk.about(person, nowMs);
    const approval = visit.desk.about(followerKey(person), nowMs);
    const allowed = visit.consent.approved.get(person) ?? null;
    const isFollowed = visit.followed.includes(person);
    const key = JSON.stringify([
      standing, limited, approval, allowed?.untilMs, allowed === null, isFollowed, this.#draft, this.#end,
      visit.mayFollowMore,
    ]);
    const redraw = () => this.draw(body, nowMs);
    rebuild(body, key, () => [
      this.#limit(standing, limited, redraw),
      this.#follower(allowed, approval, nowMs, redraw),
      this.#following(isFollowed),
      make("p", { className: "small" }, `Their id in this city: ${person}`),
    ]);
  }

  #limit(standing, asked, redraw) {
    const isOpen = asked !== null && asked.isNarrowing && asked.step !== "recorded" && asked.step !== "refused";
    const now = isOpen ? Math.min(asked.tier, standing) : standing;
    const wanted = typeof this.#draft === "number" ? this.#draft : null;
    const choose = (tier) => {
      this.#draft = tier > now ? tier : null;
      if (tier < now) this.#visit.allowing.except(this.#person, { tier, isNarrowing: true });
      redraw();
    };
    return make("section", { "aria-label": "What they see" },
      make("p", null, `At most, ${this.#name} sees of you, in every room:`),
      make("div", { className: "choice", role: "group", "aria-label": `What ${this.#name} may see at most` },
        ...TIERS.map((words, tier) => button(words, () => choose(tier), {
          "data-k": `tier ${tier}`, "aria-pressed": String((wanted ?? now) === tier),
        }))),
      wanted === null ? "" : make("div", { className: "ask" },
        make("p", null, `${this.#name} sees at most ${TIERS[wanted]}, and only what you say from then on.`),
        button(`Show ${this.#name} more`, () => {
          this.#draft = null;
          this.#visit.allowing.except(this.#person, { tier: wanted, isNarrowing: false });
          redraw();
        }, { className: "main", "data-k": "more" })),
      told(asked) ?? "");
  }

  #follower(allowed, asked, nowMs, redraw) {
    const parts = [make("h3", null, "Following you")];
    const end = ends(nowMs).find(({ key }) => key === this.#end);
    if (this.#draft === "follow") {
      const select = make("select", {
        "data-k": "end",
        onchange: () => {
          this.#end = select.value;
          redraw();
        },
      }, ...ends(nowMs).map(({ key, words }) => make("option", { value: key, selected: key === end.key }, words)));
      parts.push(make("div", { className: "ask" },
        make("label", { className: "field" }, "For how long?", select),
        make("p", null, `${this.#name} sees what you show your followers, in every room, ${untilPhrase(end.untilMs, nowMs)}.`),
        button(`Let ${this.#name} follow me`, () => {
          this.#draft = null;
          this.#visit.allowing.approve(this.#person, { isApproved: true, untilMs: end.untilMs });
          redraw();
        }, { className: "main", "data-k": "approve" })));
    } else if (allowed === null) {
      parts.push(make("p", { className: "row" }, `${this.#name} may not follow you.`,
        button("Let them follow", () => {
          this.#draft = "follow";
          redraw();
        }, { className: "plain", "data-k": "let" })));
    } else {
      parts.push(make("p", { className: "row" }, `${this.#name} may follow you ${untilPhrase(allowed.untilMs, nowMs)}.`,
        button("No more", () => this.#visit.allowing.approve(this.#person, { isApproved: false }), {
          className: "plain", "data-k": "revoke",
        })));
    }
    return make("section", { "aria-label": "Following you" }, ...parts, told(asked) ?? "");
  }

  #following(isFollowed) {
    const visit = this.#visit;
    return make("section", { "aria-label": "You follow" },
      make("h3", null, "You follow"),
      make("p", { className: "row" },
        isFollowed ? `You follow ${this.#name}.` : `You do not follow ${this.#name}.`,
        button(isFollowed ? "Follow no more" : "Follow", () => visit.follow(this.#person, !isFollowed), {
          className: "plain", "data-k": "follow", disabled: !isFollowed && !visit.mayFollowMore,
        })),
      make("p", { className: "small" },
        "Whom you follow you see in a crowd too, if they let you. Nobody is told that you wish to."));
  }
}

/**
 * Somebody who is not on the screen, by id.
 * @param {HTMLElement} body
 * @param {(citizen: string) => void} onPerson
 */
export function drawSomebody(body, onPerson) {
  rebuild(body, "somebody", () => {
    const input = make("input", { type: "text", autocomplete: "off", autocapitalize: "none", spellcheck: false });
    const wrong = make("p", { className: "wrong", role: "alert" });
    const form = make("form", { className: "ask" },
      make("label", { className: "field" }, "Their id in this city, as they gave it to you", input),
      wrong,
      make("button", { className: "plain" }, "Go on"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const citizen = input.value.trim().toLowerCase();
      if (CITIZEN.test(citizen)) onPerson(citizen);
      else wrong.textContent = "An id is 32 digits and letters from a to f. Theirs stands under “Your keys”.";
    });
    return [form];
  });
}
