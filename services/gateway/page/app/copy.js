/**
 * What the page says, word for word. Functions fill in what stands in braces in the brief. Pure.
 *
 * Three sentences of the brief are not said yet, because they would not be true: that the watchdog was
 * told of a false seal, from when on a room has a common mood, and that a slow viewer still sees it.
 */

const one = (count, word, words) => `${count} ${count === 1 ? word : words}`;

/** Why numbers will not come, as a person says it. */
const SKIPPED = {
  lost: "lost on the way",
  conflated: "the connection was slow",
};

export const copy = Object.freeze({
  firstVisit: "Say how you feel. Decide who sees it, and stop any time.",
  noWebCrypto:
    "Keys need a safe connection. Open this page by https or on localhost. You can still watch.",
  noEd25519: "This browser is too old for keys of this kind (Ed25519). You can still watch.",
  keysMayBeLost:
    "This browser may forget your keys. Save your 24 words and you keep your name.",
  beforeFirst: "Nothing is sent yet. Touch the plane, or use the arrow keys.",
  stillThere:
    "You have not moved for 5 minutes. Still feeling this? In a minute you stop speaking.",
  stopped: "You stopped speaking, because you had not moved for 6 minutes.",
  withdrawnElsewhere: "You withdrew in another window, so you stopped speaking in this one too.",
  wasHidden: "You stopped speaking while this page was hidden.",
  twoTiers:
    "Someone who sees you in full there can recognise you as a cell here. Speak anyway?",
  empty:
    "You see nobody here now. Speak if you like. Whoever you allow sees you from then on, never what was before.",
  beyondLimit: (limit, back) =>
    `More than ${limit} are here. You see the room's mood and the people you follow. This changes back below ${back}.`,
  notArrived: (seconds) => `Your last ${seconds.toFixed(1)} s have not arrived yet.`,
  withdrawn: "Withdrawn. Nobody receives anything from you.",
  withdrawnHere: "Withdrawn from this room. Nobody here receives anything from you.",
  withdrawalSlow:
    "Not confirmed yet. We cut off the part that is late and keep trying. You are sending nothing.",
  recordedLate:
    "It is done, but not yet written down. Keep this page open; we repeat it.",
  endsSoon: (at, who) => `At ${at} ${who} stops seeing you. Extend it?`,
  ended: (at, who) => `${who} no longer sees you. It ended at ${at}, as you chose.`,
  falseSeal: (name, since) =>
    `${name}: one seal does not verify. What you saw since ${since} may not be from them.`,
  partsMissing: (name, count, reason) =>
    `${name}: ${one(count, "sample is", "samples are")} missing (${SKIPPED[reason] ?? reason}). ` +
    "The break in the trail shows where.",
  reconnecting: "No connection. You send nothing and see nothing new. Trying again.",
  backWhole: "Back. Nothing was missed.",
  backMissing: (seconds) => `Back. ${seconds.toFixed(1)} s are missing and stay missing.`,
  slow: (rung) =>
    rung === "newest"
      ? "Your connection is slow. You see the newest only."
      : "Your connection is slow. You see nobody until it is faster.",
  notOpen: "This circle is not open to you now.",
  workOrSchool:
    "In this room only what you say yourself is accepted. Readings from sensors are refused by law.",
  watching: "You watch. Nobody sees you.",
  welcome: "Choose where to go. You are seen by nobody yet.",
  welcomeBack: "Welcome back. You are seen by nobody yet.",
  unseen: "Nobody sees it. Press a mirror to let somebody.",
  onlyVoices: "Only those who were asked may speak here. You listen.",
  onlyYou: "Only you can see this.",
});
