/**
 * The readings of a tile: what it receives, or what the own tile sends, in a few short lines and a curve.
 */

import { Sparkline } from './sparkline.js';
import { make, setText, within } from './dom.js';

/** @typedef {import('../../sdk/types.js').TrackStats} TrackStats */
/** @typedef {import('../../sdk/types.js').SendStats} SendStats */

/** The readings of one tile. */
export class Readings {
  #root;
  #lines;
  #spark;

  /** @param {HTMLElement} root the `.readings` element */
  constructor(root) {
    this.#root = root;
    this.#lines = within(root, '.readings-lines', HTMLElement);
    this.#spark = new Sparkline(within(root, 'canvas', HTMLCanvasElement));
  }

  /** @param {boolean} shown */
  show(shown) {
    this.#root.hidden = !shown;
    if (shown) this.#spark.draw();
  }

  /**
   * What is received of a participant.
   * @param {TrackStats | undefined} video
   * @param {TrackStats | undefined} audio
   */
  received(video, audio) {
    const kbps = (video?.kbps ?? 0) + (audio?.kbps ?? 0);
    const loss = Math.max(video?.loss ?? 0, audio?.loss ?? 0);
    this.#spark.push(kbps, loss);
    if (this.#root.hidden) return;
    const one = video ?? audio;
    if (!one) return this.#write(['nothing is received']);
    const size = video?.width ? `${video.width}×${video.height}` : 'no picture';
    this.#write([
      video ? `${size}${video.layer ? ` ${video.layer}` : ''} · ${video.fps} fps` : 'sound only',
      `${rate(kbps)} · ${share(loss)} loss${video?.repair ? ` · ${share(video.repair)} repair` : ''}`,
      `RTT ${ms(one.rttMs)} · jitter ${ms(one.jitterMs)}`,
      [video?.codec, audio?.codec].filter(Boolean).join(' + ') + (video ? ` · ${frozen(video)}` : ''),
    ]);
    this.#spark.draw();
  }

  /**
   * What is sent by this client.
   * @param {SendStats[]} sent
   */
  sent(sent) {
    const video = sent.filter((one) => one.kind === 'video').sort((a, b) => place(a) - place(b));
    const kbps = sent.reduce((sum, one) => sum + one.kbps, 0);
    const loss = Math.max(0, ...sent.map((one) => one.loss));
    this.#spark.push(kbps, loss);
    if (this.#root.hidden) return;
    const rtt = sent.find((one) => one.rttMs !== null)?.rttMs;
    const limit = video.find((one) => one.limitedBy !== 'none')?.limitedBy;
    this.#write([
      ...video.map((one) => `${one.layer ?? ''} ${sending(one)}`.trim()),
      `${rate(kbps)} · ${share(loss)} loss`,
      `RTT ${ms(rtt)}${limit ? ` · limited by ${limit}` : ''}`,
      [...new Set(sent.map((one) => one.codec))].filter(Boolean).join(' + '),
    ]);
    this.#spark.draw();
  }

  /** @param {string[]} lines */
  #write(lines) {
    while (this.#lines.children.length > lines.length) this.#lines.lastElementChild?.remove();
    lines.forEach((line, index) => {
      const element = this.#lines.children[index];
      if (element) setText(element, line);
      else this.#lines.append(make('div', '', line));
    });
  }
}

/**
 * Large to small.
 * @param {SendStats} one
 */
function place(one) {
  return 'hml'.indexOf(one.layer ?? 'h');
}

/** @param {SendStats} one */
function sending(one) {
  if (one.fps === 0) return 'off';
  return `${one.width}×${one.height} · ${one.fps} fps · ${Math.round(one.kbps)} k`;
}

/** @param {TrackStats} video */
function frozen(video) {
  if (video.freezes === 0) return 'no freezes';
  return `${video.freezes} freeze${video.freezes === 1 ? '' : 's'}, ${(video.freezeMs / 1_000).toFixed(1)} s`;
}

/** @param {number} kbps */
function rate(kbps) {
  return kbps >= 10_000 ? `${(kbps / 1_000).toFixed(1)} Mbit/s` : `${Math.round(kbps)} kbit/s`;
}

/** @param {number} loss */
function share(loss) {
  return `${(loss * 100).toFixed(loss > 0 && loss < 0.1 ? 1 : 0)} %`;
}

/** @param {number | null | undefined} value */
function ms(value) {
  return value === null || value === undefined ? '–' : `${Math.round(value)} ms`;
}
