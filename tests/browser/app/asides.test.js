import assert from "node:assert/strict";
import { test } from "node:test";

import { asideOf } from "../../../services/gateway/page/app/asides.js";
import { copy } from "../../../services/gateway/page/app/copy.js";
import { Link } from "../../../services/gateway/page/app/link.js";
import { Arrivals } from "../../../services/gateway/page/plane/arrivals.js";

const FEELING = { valence: 0.5, arousal: 0.5 };
const ALONE = "No connection. Only you can see this.";

/** A visit to a room where one may speak, as far as the words beside one's feeling need it. */
function visitWith({ isLost = false, feeling = null, isSpeaking = false, ...changes } = {}) {
  const link = new Link();
  link.changed("live", 0);
  if (isLost) link.changed("waiting", 1);
  return {
    link, policy: {}, maySpeak: true, isWithdrawn: false, hasSpoken: isSpeaking, isSpeaking,
    speaking: { feeling, arrivals: new Arrivals() }, mirrors: () => [{ tier: 0 }], ...changes,
  };
}
const aside = (changes) => asideOf(visitWith(changes), 10);

test("without a connection only a feeling that there is can be seen by oneself alone", () => {
  assert.equal(aside({ isLost: true }), copy.beforeFirst);
  assert.equal(aside({ isLost: true, maySpeak: false }), copy.onlyVoices);
  assert.equal(aside({ isLost: true, hasSpoken: true, isSpeaking: true }), copy.beforeFirst, "not touched yet");
  assert.equal(aside({ isLost: true, feeling: FEELING }), ALONE);
  assert.equal(aside({ isLost: true, feeling: FEELING, isSpeaking: true }), ALONE);
  assert.equal(aside({ isLost: true, feeling: FEELING, isWithdrawn: true }), "Nobody receives anything from you.");
});

test("with a connection it is said what became of the feeling", () => {
  assert.equal(aside(), copy.beforeFirst);
  assert.equal(aside({ feeling: FEELING, hasSpoken: true }), copy.onlyYou);
  assert.equal(aside({ feeling: FEELING, isSpeaking: true }), "On its way.");
  const visit = visitWith({ feeling: FEELING, isSpeaking: true });
  visit.speaking.arrivals.sent(0, FEELING, 0);
  assert.equal(asideOf(visit, 2500), copy.notArrived(2.5));
  visit.speaking.arrivals.echoed(0, 2500);
  assert.equal(asideOf(visit, 2500), copy.unseen);
  visit.mirrors = () => [{ tier: 2 }];
  assert.equal(asideOf(visit, 2500), "Arrived after 2500 ms.");
});
