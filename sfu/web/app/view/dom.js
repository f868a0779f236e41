/**
 * Small ways to reach and change the page's elements, with their types.
 */

/**
 * The element with this id; the page has it, or the page is broken.
 * @template {Element} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function byId(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`#${id} is missing from the page`);
  return element;
}

/**
 * The first element beneath another that matches.
 * @template {Element} T
 * @param {ParentNode} parent
 * @param {string} selector
 * @param {new () => T} type
 * @returns {T}
 */
export function within(parent, selector, type) {
  const element = parent.querySelector(selector);
  if (!(element instanceof type)) throw new Error(`${selector} is missing from the page`);
  return element;
}

/**
 * Sets text only if it changed: screen readers and layout are left in peace.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Shows another icon of the sprite in an element.
 * @param {Element} element
 * @param {string} name
 */
export function setIcon(element, name) {
  within(element, 'use', SVGUseElement).setAttribute('href', `#i-${name}`);
}

/**
 * An element with a class and text.
 * @param {string} tag
 * @param {string} className
 * @param {string} [text]
 */
export function make(tag, className, text = '') {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

/**
 * Says something for a few seconds.
 * @param {string} words
 * @param {number} [forMs]
 */
export function toast(words, forMs = 4_000) {
  const element = make('div', 'toast', words);
  byId('toasts', HTMLElement).append(element);
  setTimeout(() => element.remove(), forMs);
}
