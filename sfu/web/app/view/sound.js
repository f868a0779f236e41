/**
 * The others' sound: one audio element for each track, and a button where the browser wants a click first.
 */

import { byId } from './dom.js';

/** All audio elements of a call. */
export class Sound {
  #root = byId('sound', HTMLElement);
  #button = byId('hear', HTMLButtonElement);
  /** By track. @type {Map<string, HTMLAudioElement>} */
  #elements = new Map();

  constructor() {
    this.#button.onclick = () => this.#playAll();
  }

  /**
   * @param {string} track
   * @param {MediaStreamTrack} mediaTrack
   */
  play(track, mediaTrack) {
    const element = this.#elements.get(track) ?? document.createElement('audio');
    element.dataset.track = track;
    element.autoplay = true;
    element.srcObject = new MediaStream([mediaTrack]);
    this.#elements.set(track, element);
    this.#root.append(element);
    void this.#start(element);
  }

  /** @param {string} track */
  stop(track) {
    const element = this.#elements.get(track);
    if (!element) return;
    this.#elements.delete(track);
    element.srcObject = null;
    element.remove();
    if (this.#elements.size === 0) this.#button.hidden = true;
  }

  /** Stops everything. */
  close() {
    for (const track of [...this.#elements.keys()]) this.stop(track);
    this.#button.hidden = true;
  }

  /** @param {HTMLAudioElement} element */
  async #start(element) {
    try {
      await element.play();
    } catch (error) {
      // Other errors mean that the element lost its track meanwhile.
      if (/** @type {DOMException} */ (error).name === 'NotAllowedError') this.#button.hidden = false;
    }
  }

  #playAll() {
    this.#button.hidden = true;
    for (const element of this.#elements.values()) void this.#start(element);
  }
}
