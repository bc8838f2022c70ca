/** Who sees one at this moment, and as what: the mirrors, and what a change of them would be. Pure. */

import { Audience, Purpose, Tier } from "../client/records.js";
import { untilPhrase, untilWord } from "./times.js";

export const TIER_WORDS = Object.freeze(["nothing", "counted", "a cell", "in full"]);
const MEANS = Object.freeze([
  "Nothing. Not even that you are here.",
  "You count in the mood. No place, no name.",
  "One of 25 cells, no name, once a second.",
  "Your exact place, your name, your words.",
]);
const MEANS_CROWD = "You count in the mood. Too many are here for cells.";
const WHO = Object.freeze({
  [Audience.MEMBERS]: "This room",
  [Audience.PUBLIC]: "All others",
  [Audience.FOLLOWERS]: "Followers",
});
/** The same audiences in the middle of a sentence. */
const WHOM = Object.freeze({
  [Audience.MEMBERS]: "this room",
  [Audience.PUBLIC]: "everybody, without an account,",
  [Audience.FOLLOWERS]: "your followers",
});

/**
 * @typedef {object} Mirror
 * @property {number} audience of `Audience`
 * @property {string} who
 * @property {number} tier what they receive at this moment, of `Tier`
 * @property {number} granted what they would receive while one speaks, and everything else allows it
 * @property {number|null} untilMs of the grant; nil without one, or without an end
 * @property {boolean} isFixed nobody of this audience can be let in here
 * @property {string} words "a cell", "nothing now"
 * @property {string} until "20:30", "Friday" or ""
 * @property {string} untilShort the same in three letters
 * @property {string} means what that is, in a sentence
 */

/**
 * The three mirrors.
 * @param {object} of
 * @param {import("../client/consent_chain.js").ConsentChain} of.consent recorded grants
 * @param {ReturnType<typeof import("../client/records.js").readPolicy>|null} of.policy of the room
 * @param {boolean|null} of.isClose whether everybody sees everybody as granted
 * @param {boolean} of.isSpeaking whether samples go out
 * @param {boolean} of.isWithdrawn whether a withdrawal of everything was asked for, and nothing granted since
 * @param {Map<number, number>} [of.narrowed] the tier asked for where less was asked and is not recorded yet
 * @param {number} of.nowMs
 * @returns {Mirror[]}
 */
export function mirrors({ consent, policy, isClose, isSpeaking, isWithdrawn, narrowed, nowMs }) {
  return [Audience.MEMBERS, Audience.FOLLOWERS, Audience.PUBLIC].map((audience) => {
    const isFixed = audience === Audience.PUBLIC && policy?.public !== true;
    const grant = policy === null || isFixed ? null : grantOf(consent, policy.sanctuary, audience, nowMs);
    const asked = isWithdrawn ? Tier.WITHHELD : narrowed?.get(audience) ?? Tier.FULL;
    const granted = Math.min(
      grant?.tier ?? Tier.WITHHELD, asked, policy?.tierMax ?? Tier.WITHHELD,
    );
    const isCrowd = audience === Audience.MEMBERS && isClose === false && granted > Tier.AGGREGATE;
    const most = isCrowd ? Tier.AGGREGATE : granted;
    const count = audience === Audience.FOLLOWERS ? followers(consent, nowMs).length : null;
    const isNobody = count === 0 && most > Tier.WITHHELD;
    const tier = isSpeaking && !isNobody ? most : Tier.WITHHELD;
    const isWaiting = !isSpeaking && !isNobody && most > Tier.WITHHELD;
    const untilMs = granted > Tier.WITHHELD ? grant.untilMs : null;
    return {
      audience, tier, granted, untilMs, isFixed,
      who: count ? `${WHO[audience]} (${count})` : WHO[audience],
      words: isWaiting ? "nothing now" : isNobody ? "nobody yet" : TIER_WORDS[tier],
      until: untilWord(untilMs, nowMs),
      untilShort: untilWord(untilMs, nowMs, { isShort: true }),
      means: meaning({ tier, most, isWaiting, isNobody, isCrowd }),
    };
  });
}

function meaning({ tier, most, isWaiting, isNobody, isCrowd }) {
  if (isNobody) return `${capital(TIER_WORDS[most])}, for those whom you let follow.`;
  if (isWaiting) return `${capital(TIER_WORDS[most])} once you speak.`;
  return isCrowd ? MEANS_CROWD : MEANS[tier];
}

/**
 * Who may follow at this moment.
 * @param {import("../client/consent_chain.js").ConsentChain} consent
 * @returns {{person: Uint8Array, untilMs: number|null}[]}
 */
export function followers(consent, nowMs) {
  return [...consent.approved.values()].filter(({ person }) => consent.mayFollow(person, nowMs));
}

/** With a capital letter, to begin a sentence. */
export const capital = (text) => text[0].toUpperCase() + text.slice(1);

/** The grant that stands for an audience; nil: none, or it has ended. */
function grantOf(consent, sanctuary, audience, nowMs) {
  const grant = consent.grant({ sanctuary, audience, purpose: Purpose.LIVE });
  const stands = grant !== null && grant.tier > Tier.WITHHELD
    && (grant.untilMs === null || grant.untilMs > nowMs);
  return stands ? grant : null;
}

/**
 * Whether a change shows more of one than now, or for longer: then it is read first, signed by the
 * identity key, and painted once it is recorded. Everything else acts at once.
 * @param {{granted: number, untilMs: number|null}} now
 * @param {{tier: number, untilMs: number|null}} wanted
 */
export function widens(now, wanted) {
  if (wanted.tier === Tier.WITHHELD) return false;
  if (wanted.tier > now.granted) return true;
  return now.untilMs !== null && (wanted.untilMs === null || wanted.untilMs > now.untilMs);
}

/** What one agrees to, in full. */
export function sentence(audience, { tier, untilMs }, nowMs) {
  const shows = {
    [Tier.AGGREGATE]: `counts you in the room's mood, without place or name,`,
    [Tier.COARSE]: `sees you as one of 25 cells, without a name, once a second,`,
    [Tier.FULL]: `sees your exact place, your name, your words and your notes`,
  }[tier];
  const [who, verb] = audience === Audience.FOLLOWERS
    ? [capital(WHOM[audience]), shows.replace("counts", "count").replace("sees", "see")]
    : [capital(WHOM[audience]), shows];
  return `${who} ${verb} ${untilPhrase(untilMs, nowMs)}. What was seen stays seen.`;
}

/** "this room" in the middle of a sentence, without the comma of the longest. */
export function whom(audience) {
  return WHOM[audience].replace(/,.*/, "");
}

/** What a press on the lighter of two says: "Let this room see me as a cell until 20:30". */
export function wideningWords(audience, { tier, untilMs }, nowMs) {
  const as = ["", "count me", "see me as a cell", "see me in full"][tier];
  return `Let ${whom(audience)} ${as} ${untilPhrase(untilMs, nowMs).replace("you withdraw", "I withdraw")}`;
}

/**
 * The grant here that ends next, or that has just ended.
 * @param {Mirror[]} all
 * @returns {{audience: number, untilMs: number}|null} nil: none ends
 */
export function nextEnd(all) {
  const ending = all.filter(({ untilMs }) => untilMs !== null).sort((a, b) => a.untilMs - b.untilMs);
  return ending.length === 0 ? null : { audience: ending[0].audience, untilMs: ending[0].untilMs };
}

/**
 * Whether who sees one in full elsewhere could know the cell here as the same person.
 * @param {{consent: import("../client/consent_chain.js").ConsentChain, sanctuary: string, nowMs: number}} of
 *   sanctuary in hexadecimal
 * @param {number} tier of the members here
 */
export function isRecognisable({ consent, sanctuary, nowMs }, tier) {
  if (tier !== Tier.COARSE) return false;
  return consent.grants(nowMs).some((grant) => grant.purpose === Purpose.LIVE
    && grant.tier === Tier.FULL && grant.audience === Audience.MEMBERS && grant.sanctuary !== sanctuary);
}
