/** Moments as a person says them, and the ends that a grant may have. Pure; local time. */

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
  "November", "December",
];
/** Ends are cut to whole five minutes, so that they can be read and said. */
const GRAIN_MS = 5 * MINUTE_MS;

const two = (number) => String(number).padStart(2, "0");

/** "20:30" */
export function clock(atMs) {
  const at = new Date(atMs);
  return `${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** "19:41:07" */
export function clockSeconds(atMs) {
  return `${clock(atMs)}:${two(new Date(atMs).getSeconds())}`;
}

const dayOf = (ms) => new Date(ms).toDateString();

/**
 * "20:30" today, "Friday" within a week, "3 December" beyond; "" for no end.
 * @param {number|null} untilMs
 * @param {number} nowMs
 * @param {{isShort?: boolean}} [options] isShort: three letters of a day or month
 */
export function untilWord(untilMs, nowMs, { isShort = false } = {}) {
  if (untilMs === null) return "";
  const until = new Date(untilMs);
  // midnight belongs to the day that it ends
  if (dayOf(untilMs) === dayOf(nowMs) || untilMs - nowMs <= 12 * HOUR_MS) return clock(untilMs);
  const cut = (word) => (isShort ? word.slice(0, 3) : word);
  if (untilMs - nowMs < 6 * DAY_MS) return cut(DAYS[until.getDay()]);
  return `${until.getDate()} ${cut(MONTHS[until.getMonth()])}`;
}

/** "until Friday, 20:30": the whole of it, for a sentence that one agrees to. */
export function untilPhrase(untilMs, nowMs) {
  if (untilMs === null) return "until you withdraw it";
  const word = untilWord(untilMs, nowMs);
  const at = clock(untilMs);
  return word === at ? `until ${at}` : `until ${word}, ${at}`;
}

/**
 * What one may choose as an end, shortest first; nobody is offered "for ever" first.
 * @param {number} nowMs
 * @returns {{key: string, words: string, untilMs: number|null}[]}
 */
export function ends(nowMs) {
  const after = (ms) => Math.ceil((nowMs + ms) / GRAIN_MS) * GRAIN_MS;
  return [
    { key: "hour", words: "for an hour", untilMs: after(HOUR_MS) },
    { key: "evening", words: "for four hours", untilMs: after(4 * HOUR_MS) },
    { key: "day", words: "for a day", untilMs: after(DAY_MS) },
    { key: "week", words: "for a week", untilMs: after(7 * DAY_MS) },
    { key: "open", words: "until I withdraw it", untilMs: null },
  ];
}
