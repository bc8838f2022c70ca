/** The small words beside one's own feeling: whether it is sent, has arrived, and is seen by anybody. Pure. */

import { copy } from "./copy.js";

/**
 * @param {import("./visit.js").Visit} visit
 * @param {number} nowMs
 * @returns {string}
 */
export function asideOf(visit, nowMs) {
  const { feeling, arrivals } = visit.speaking;
  if (visit.isWithdrawn) return "Nobody receives anything from you.";
  if (feeling !== null && visit.link.state !== "live") return "No connection. Only you can see this.";
  if (visit.policy !== null && !visit.maySpeak) return copy.onlyVoices;
  if (!visit.hasSpoken || feeling === null) return copy.beforeFirst;
  if (!visit.isSpeaking) return copy.onlyYou;
  const lateMs = arrivals.lateMs(nowMs);
  if (lateMs !== null) return copy.notArrived(lateMs / 1000);
  if (arrivals.acknowledged === null) return "On its way.";
  if (visit.mirrors(nowMs).every(({ tier }) => tier === 0)) return copy.unseen;
  const { delayMs } = arrivals;
  return delayMs === null ? "Arrived." : `Arrived after ${Math.round(delayMs)} ms.`;
}
