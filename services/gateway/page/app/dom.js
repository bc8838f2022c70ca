/** The little of the document's interface that every screen needs. Text goes in as text, never as markup. */

/** @param {string} id @returns {HTMLElement} */
export const byId = (id) => document.getElementById(id);

/**
 * An element. `on…` properties are listeners, `aria…` and `data…` attributes, all others properties.
 * @param {string} tag
 * @param {Record<string, any>|null} properties
 * @param {...(Node|string|null)} children nil: nothing
 */
export function make(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name.includes("-")) element.setAttribute(name, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** A button that does not send a form. */
export function button(text, onclick, properties = {}) {
  return make("button", { type: "button", onclick, ...properties }, text);
}

/** Touch the document only if it would change: called several times a second. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {Element} element @param {string} name @param {string|null} value nil: without it */
export function setAttribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/**
 * Make children anew only when what they show is new, so that presses survive; focus goes to the new
 * element of the same `data-k`.
 * @param {Element} element
 * @param {string} key what they show
 * @param {() => Node[]} build
 */
export function rebuild(element, key, build) {
  if (element.dataset.shows === key) return;
  element.dataset.shows = key;
  const held = element.contains(document.activeElement) ? document.activeElement.dataset.k : undefined;
  element.replaceChildren(...build());
  if (held === undefined) return;
  const next = [...element.querySelectorAll("[data-k]")].find(({ dataset }) => dataset.k === held);
  (next ?? element.querySelector("button"))?.focus({ preventScroll: true });
}
