/**
 * One person's tile: picture or initials, name, mute badge, readings, a ring while they speak.
 */

import { Readings } from './readings.js';
import { byId, setText, within } from './dom.js';

/** A tile in the grid. */
export class Tile {
  #video;
  #initials;
  #name;
  #expand;
  #statsButton;
  #showsStats = false;
  /** The picture that the tile should show. @type {MediaStreamTrack | null} */
  #media = null;
  /** What the buttons do. @type {{expand: () => void}} */
  actions = { expand: () => {} };

  /**
   * @param {string} id the participant, or `self`
   * @param {string} name
   * @param {boolean} isSelf
   */
  constructor(id, name, isSelf) {
    const fragment = byId('tile-template', HTMLTemplateElement).content.cloneNode(true);
    this.id = id;
    this.name = name;
    this.isSelf = isSelf;
    this.element = within(/** @type {DocumentFragment} */ (fragment), '.tile', HTMLElement);
    this.#video = within(this.element, 'video', HTMLVideoElement);
    this.#initials = within(this.element, '.avatar b', HTMLElement);
    this.#name = within(this.element, '.plate-name', HTMLElement);
    this.#expand = within(this.element, '.tool-expand', HTMLButtonElement);
    this.#statsButton = within(this.element, '.tool-stats', HTMLButtonElement);
    this.readings = new Readings(within(this.element, '.readings', HTMLElement));
    this.element.dataset.participant = id;
    this.element.classList.toggle('self', isSelf);
    this.element.style.setProperty('--hue', String(hueOf(name)));
    setText(this.#initials, initialsOf(name));
    setText(this.#name, isSelf ? `${name} (you)` : name);
    const whose = isSelf ? 'your' : `${name}'s`;
    this.#expand.setAttribute('aria-label', `Enlarge ${whose} picture`);
    this.#statsButton.setAttribute('aria-label', `Show the readings of ${whose} picture`);
    this.#expand.onclick = () => this.actions.expand();
    this.element.ondblclick = (event) => {
      if (!(event.target instanceof Element && event.target.closest('button'))) this.actions.expand();
    };
    this.#statsButton.onclick = () => this.showStats(!this.#showsStats);
    this.#video.onresize = () => this.#fit();
    this.#video.onloadeddata = () => this.element.classList.add('has-frame');
    this.setMuted('microphone', false);
    this.setPicture(null, false);
  }

  /**
   * Shows a picture, or the initials.
   * @param {MediaStreamTrack | null} media
   * @param {boolean} isExpected whether a picture will come
   */
  setPicture(media, isExpected) {
    this.element.classList.toggle('waiting', isExpected);
    if (this.#media === media) return;
    this.#media = media;
    this.element.classList.remove('has-frame');
    this.#video.srcObject = media ? new MediaStream([media]) : null;
    if (media) void this.#video.play().catch(() => {}); // muted: not refused; a detached element may be
  }

  /**
   * @param {'camera' | 'microphone'} what
   * @param {boolean} muted
   */
  setMuted(what, muted) {
    this.element.classList.toggle(what === 'camera' ? 'no-picture' : 'no-sound', muted);
    const badge = within(this.element, '.plate-mic', SVGElement);
    const silent = this.element.classList.contains('no-sound');
    badge.setAttribute('aria-label', silent ? 'Muted' : '');
    badge.setAttribute('aria-hidden', String(!silent));
    const state = [silent && 'microphone muted', this.element.classList.contains('no-picture') && 'camera off'];
    this.element.setAttribute('aria-label', [this.#name.textContent, ...state].filter(Boolean).join(', '));
  }

  /** @param {boolean} speaks */
  setSpeaking(speaks) {
    this.element.classList.toggle('speaking', speaks);
  }

  /** @param {boolean} isLarge */
  setLarge(isLarge) {
    this.element.classList.toggle('large', isLarge);
    this.#expand.setAttribute('aria-pressed', String(isLarge));
    this.#fit();
  }

  /** @param {boolean} shown */
  showStats(shown) {
    this.#showsStats = shown;
    this.#statsButton.setAttribute('aria-pressed', String(shown));
    this.readings.show(shown);
  }

  /** @param {import('./grid.js').Rect} rect */
  place({ left, top, width, height }) {
    Object.assign(this.element.style, {
      left: `${left}px`,
      top: `${top}px`,
      width: `${width}px`,
      height: `${height}px`,
    });
    this.#fit();
  }

  /** Whether the readings are shown. */
  get showsStats() {
    return this.#showsStats;
  }

  /** Lets go of the picture. */
  close() {
    this.#video.srcObject = null;
    this.element.remove();
  }

  /** Fills the tile, unless that would hide most of the picture. */
  #fit() {
    const { videoWidth, videoHeight } = this.#video;
    const { clientWidth, clientHeight } = this.element;
    const stretch = (videoWidth * clientHeight) / (videoHeight * clientWidth);
    const hides = videoWidth > 0 && (stretch < 0.45 || stretch > 3);
    this.element.classList.toggle('whole', hides || this.element.classList.contains('large'));
  }
}

/**
 * Up to two letters for a name; one character of Chinese, Japanese or Korean says more than two.
 * @param {string} name
 */
export function initialsOf(name) {
  const parts = name.trim().split(/[\s._-]+/u).filter(Boolean);
  const first = [...(parts[0] ?? '?')][0] ?? '?';
  if (/[\u3040-\u9fff\uac00-\ud7af]/u.test(first)) return first;
  const last = parts.length > 1 ? ([...(parts[parts.length - 1] ?? '')][0] ?? '') : '';
  return (first + last).toUpperCase();
}

/**
 * A hue of its own for each name.
 * @param {string} name
 */
function hueOf(name) {
  let hash = 0;
  for (const character of name) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) % 3_600;
  return (hash * 137) % 360;
}
