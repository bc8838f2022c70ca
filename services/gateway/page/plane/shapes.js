/** The outline of somebody seen in full: it says valence and arousal without colour. */

const POINTS_A_LOBE = 16;
/** Outlines differ in twenty steps of valence and arousal each, so that few are ever made. */
const STEPS = 20;
const STEP = 2000 / STEPS;

/**
 * Distances from the middle, lobe by lobe, beginning at a tip: deep petals are lively, thorns unpleasant.
 * @param {number} lobes 5…8
 * @param {number} valence thousandths
 * @param {number} arousal thousandths
 * @returns {Float64Array} `lobes` × 16 radii for a mark of radius 1
 */
export function outline(lobes, valence, arousal) {
  const depth = 0.02 + 0.5 * ((arousal / 1000 + 1) / 2) ** 1.3;
  const thorn = Math.min(1, Math.max(0, 0.1 - (2 * valence) / 1000));
  return Float64Array.from({ length: lobes * POINTS_A_LOBE }, (_, i) => {
    const tip = Math.abs(((i % POINTS_A_LOBE) / POINTS_A_LOBE) * 2 - 1); // 1 at a tip, 0 between two
    const petal = Math.sin((tip * Math.PI) / 2) ** 0.7;
    const profile = petal + (tip ** 1.6 - petal) * thorn;
    return 1 - depth + 1.3 * depth * profile;
  });
}

/** @type {Map<number, Path2D>} at most 4 × 21 × 21 */
const paths = new Map();

/**
 * @param {number} lobes
 * @param {number} valence thousandths
 * @param {number} arousal thousandths
 * @returns {Path2D} of radius 1 around (0, 0)
 */
export function flower(lobes, valence, arousal) {
  const [v, a] = [Math.round(valence / STEP), Math.round(arousal / STEP)];
  const key = (lobes * 64 + v + STEPS) * 64 + a + STEPS;
  let path = paths.get(key);
  if (path === undefined) {
    path = new Path2D();
    const radii = outline(lobes, v * STEP, a * STEP);
    radii.forEach((radius, i) => {
      const angle = (i / radii.length) * 2 * Math.PI;
      path.lineTo(radius * Math.sin(angle), -radius * Math.cos(angle));
    });
    path.closePath();
    paths.set(key, path);
  }
  return path;
}
