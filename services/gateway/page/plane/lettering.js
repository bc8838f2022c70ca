/** Words on a canvas: the page's own type, read over whatever lies below. */

/**
 * @param {import("./tokens.js").Tokens} tokens
 * @param {{weight?: number, scale?: number}} [options] scale: of the size of a label
 * @returns {string} a CSS font
 */
export function fontOf({ textPx }, { weight = 500, scale = 1 } = {}) {
  return `${weight} ${textPx * scale}px system-ui, sans-serif`;
}

/** Text with the plane's colour around it, so that it is read over grid and trails. */
export function writeOver(context, tokens, text, x, y, colour) {
  context.lineWidth = 4;
  context.strokeStyle = tokens.plane;
  context.strokeText(text, x, y);
  context.fillStyle = colour;
  context.fillText(text, x, y);
}
