/** Colours, read from the page's custom properties once a theme; with forced colours the system's own. */

const NAMES = ["plane", "ink", "ink-2", "line", "edge", "act", "neg", "mid", "pos", "stop"];
const SYSTEM = {
  plane: "Canvas", ink: "CanvasText", "ink-2": "CanvasText", line: "GrayText", edge: "CanvasText",
  act: "Highlight", neg: "CanvasText", mid: "CanvasText", pos: "CanvasText", stop: "CanvasText",
};
/** Shades from `neg` over `mid` to `pos`; a valence of ±0.7 has the whole colour. */
const SHADES = 41;
const WHOLE_AT = 700;

/**
 * @typedef {object} Tokens
 * @property {string} plane
 * @property {string} ink
 * @property {string} ink2
 * @property {string} line
 * @property {string} edge
 * @property {string} act
 * @property {string} stop
 * @property {string[]} shades colours of valence, most unpleasant first
 * @property {number} textPx the size of a label, CSS pixels
 */

/**
 * @param {Element} element whose custom properties they are
 * @param {boolean} isForced forced colours are on
 * @returns {Tokens}
 */
export function readTokens(element, isForced) {
  const style = getComputedStyle(element);
  const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const probe = document.createElement("span");
  if (isForced) element.append(probe);
  const read = (name) => {
    if (!isForced) return style.getPropertyValue(`--${name}`).trim() || "#808080";
    probe.style.color = SYSTEM[name];
    return getComputedStyle(probe).color;
  };
  const found = Object.fromEntries(NAMES.map((name) => [name, read(name)]));
  probe.remove();
  const { plane, ink, line, edge, act, stop, neg, mid, pos } = found;
  const [low, middle, high] = [neg, mid, pos].map((colour) => channels(context, colour));
  const shades = Array.from({ length: SHADES }, (_, i) => {
    const side = ((i / (SHADES - 1)) * 2 - 1) * (1000 / WHOLE_AT);
    return mixed(middle, side < 0 ? low : high, Math.min(1, Math.abs(side)));
  });
  const rootPx = Number.parseFloat(getComputedStyle(document.documentElement).fontSize) || 16;
  return { plane, ink, ink2: found["ink-2"], line, edge, act, stop, shades, textPx: rootPx * 0.75 };
}

/** Red, green, blue of any CSS colour. */
function channels(context, colour) {
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  return context.getImageData(0, 0, 1, 1).data;
}

function mixed(from, to, part) {
  const parts = [0, 1, 2].map((i) => Math.round(from[i] + (to[i] - from[i]) * part));
  return `rgb(${parts.join(" ")})`;
}

/** The colour of a valence in thousandths. @param {Tokens} tokens */
export function shade(tokens, valence) {
  return tokens.shades[Math.round(((valence + 1000) / 2000) * (SHADES - 1))];
}
