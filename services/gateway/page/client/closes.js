/** The catalogue of closes and refusals, and when to come back. Pure. */

/** Close codes: come back or not. Codes that are not listed are the network's: come back. */
export const CLOSES = Object.freeze({
  1001: { meaning: "the server is stopping", comeBack: true },
  4000: { meaning: "a frame was not of this protocol", comeBack: false },
  4001: { meaning: "no token within 5 s of hello", comeBack: true },
  4002: { meaning: "the token was refused", comeBack: false },
  4003: { meaning: "the token was not renewed in time", comeBack: true },
  4004: { meaning: "a frame was longer than the limit in hello", comeBack: false },
  4005: { meaning: "far above the rate in hello; wait 5 s", comeBack: true },
  4006: { meaning: "could not keep up with what it watches", comeBack: true },
  4007: { meaning: "this gateway was cut off; reconnect", comeBack: true },
  4008: { meaning: "the gateway drains; come back within the stated time", comeBack: true },
  4009: { meaning: "too many connections from here", comeBack: true },
  4010: { meaning: "no answer to pings", comeBack: true },
});
const TOO_FAST = 4005;
const MOVE = 4008;
const TOO_FAST_WAIT_MS = 5000;

/** Refusals after which one joins (and opens) again, and how many ms later. */
export const ASK_AGAIN_MS = Object.freeze({
  "not ready": 500,
  "not a member": 500,
  "unknown strand": 100,
  "wrong challenge": 500,
  "wrong policy": 100,
  "wrong session": 500,
  skew: 500,
  "too fast": 5000,
  "too many strands": 5000,
  suspended: 60_000,
  "too many enrolments": 60_000,
});

/** The first wait; it doubles with every attempt that fails. */
export const BACKOFF_MS_MIN = 250;
/** Short, because the city promises the next sample 2 s after a crash. */
export const BACKOFF_MS_MAX = 5000;

/**
 * How long to stay away after a close, or that one should not come back.
 * @param {number} code of the close
 * @param {object} circumstances
 * @param {number} circumstances.attempt 0 after a session that was welcomed, then 1, 2, …
 * @param {number|null} [circumstances.moveWithinMs] what `move` said, if it did
 * @param {number} circumstances.chance 0 ≤ chance < 1, so that a crowd does not return at once
 * @returns {number|null} ms, or nil: do not come back
 */
export function comeBackAfterMs(code, { attempt, moveWithinMs = null, chance }) {
  if (CLOSES[code]?.comeBack === false) return null;
  if (moveWithinMs !== null && (code === MOVE || attempt === 0)) return chance * moveWithinMs;
  const most = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.min(attempt, 16));
  const wait = most / 2 + (chance * most) / 2;
  return code === TOO_FAST ? TOO_FAST_WAIT_MS + wait : wait;
}
