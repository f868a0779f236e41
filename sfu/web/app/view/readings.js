/**
 * The readings of a tile: what it receives, or what the own tile sends, in a few short lines and curves over the last
 * minute. What the server says is beneath what the browser says; without it, the browser's part stands alone.
 */

import { Sparkline } from './sparkline.js';
import { make, setText, within } from './dom.js';
import { ms, pathWords, place, rate, share, sending, shownWords } from './readings-words.js';

/** @typedef {import('../../sdk/types.js').TrackStats} TrackStats */
/** @typedef {import('../../sdk/types.js').SendStats} SendStats */
/** @typedef {import('../../sdk/types.js').ServerStats} ServerStats */
/** @typedef {import('../../sdk/types.js').ServerStream} ServerStream */
/** @typedef {import('./sparkline.js').Point} Point */

/** The readings of one tile. */
export class Readings {
  #root;
  #lines;
  #spark;
  #frozenMs = 0;
  /** What the server had got when it last said so. */
  #before = { packets: 0, recovered: 0 };

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
   * @param {ServerStats | null} inside
   */
  received(video, audio, inside) {
    const leg = inside?.legs.find((leg) => leg.track === video?.track);
    const estimate = inside?.connection.sending;
    const kbps = (video?.kbps ?? 0) + (audio?.kbps ?? 0);
    const lost = Math.max(video?.loss ?? 0, audio?.loss ?? 0);
    const frozenMs = video?.freezeMs ?? 0;
    this.#spark.push({
      kbps,
      lost,
      repaired: video?.repair ?? 0,
      frozen: frozenMs > this.#frozenMs,
      rttMs: (video ?? audio)?.rttMs ?? null,
      estimateKbps: estimate?.target_kbps ?? null,
      layer: leg?.rid ?? video?.layer ?? null,
      limited: leg !== undefined && leg.limited_by !== 'none',
    });
    this.#frozenMs = frozenMs;
    if (this.#root.hidden) return;
    const one = video ?? audio;
    if (!one) return this.#write(['nothing is received'], []);
    const size = video?.width ? `${video.width}×${video.height}` : 'no picture';
    this.#write(
      [
        video ? `${size}${video.layer ? ` ${video.layer}` : ''} · ${video.fps} fps` : 'sound only',
        `${rate(kbps)} · ${share(lost)} loss${video?.repair ? ` · ${share(video.repair)} repair` : ''}`,
        `RTT ${ms(one.rttMs)} · jitter ${ms(one.jitterMs)}`,
        [video?.codec, audio?.codec].filter(Boolean).join(' + ') + (video ? ` · ${frozen(video)}` : ''),
      ],
      [leg ? shownWords(leg) : '', estimate ? pathWords(estimate) : ''],
    );
    this.#spark.draw();
  }

  /**
   * What is sent by this client.
   * @param {SendStats[]} sent
   * @param {number | null} availableKbps
   * @param {ServerStats | null} inside
   */
  sent(sent, availableKbps, inside) {
    const video = sent.filter((one) => one.kind === 'video').sort((a, b) => place(a) - place(b));
    const kbps = sent.reduce((sum, one) => sum + one.kbps, 0);
    const loss = Math.max(0, ...sent.map((one) => one.loss));
    const rtt = sent.find((one) => one.rttMs !== null)?.rttMs ?? null;
    const limit = video.find((one) => one.limitedBy !== 'none')?.limitedBy;
    const largest = video.find((one) => one.fps > 0);
    this.#spark.push({
      kbps,
      lost: loss,
      repaired: this.#recovered(inside?.streams ?? []),
      frozen: false,
      rttMs: rtt,
      estimateKbps: availableKbps,
      layer: largest?.layer ?? null,
      limited: limit !== undefined,
    });
    if (this.#root.hidden) return;
    this.#write(
      [
        ...video.map((one) => `${one.layer ?? ''} ${sending(one)}`.trim()),
        `${rate(kbps)} · ${share(loss)} loss`,
        `RTT ${ms(rtt)}${limit ? ` · limited by ${limit}` : ''}`,
        [...new Set(sent.map((one) => one.codec))].filter(Boolean).join(' + '),
      ],
      inside ? uplinkWords(inside.streams) : [],
    );
    this.#spark.draw();
  }

  /**
   * The share of packets that the server has got only in a second way since it was asked last.
   * @param {ServerStream[]} streams
   */
  #recovered(streams) {
    const packets = sum(streams, (stream) => stream.packets_received);
    const recovered = sum(streams, (stream) => stream.packets_retransmitted + stream.packets_restored);
    const more = { packets: packets - this.#before.packets, recovered: recovered - this.#before.recovered };
    if (streams.length > 0) this.#before = { packets, recovered };
    return more.packets > 0 ? Math.max(0, more.recovered / more.packets) : 0;
  }

  /**
   * @param {string[]} own what the browser says
   * @param {string[]} server what the server says
   */
  #write(own, server) {
    const lines = [...own, ...server].filter(Boolean);
    while (this.#lines.children.length > lines.length) this.#lines.lastElementChild?.remove();
    lines.forEach((line, index) => {
      const element = this.#lines.children[index] ?? this.#lines.appendChild(make('div', ''));
      setText(element, line);
      element.classList.toggle('server', index >= own.length);
    });
  }
}

/**
 * What the server has got of the own streams.
 * @param {ServerStream[]} streams
 */
function uplinkWords(streams) {
  const total = (/** @type {(stream: ServerStream) => number} */ of) => sum(streams, of);
  const recovered = total((stream) => stream.packets_retransmitted + stream.packets_restored);
  const lost = total((stream) => stream.packets_lost);
  return [
    `server gets ${rate(total((stream) => stream.kbps))} · ${lost} lost, ${recovered} recovered`,
    `asked for ${total((stream) => stream.nacked_packets)} again, ${total((stream) => stream.pli_count)} key frames`,
  ];
}

/**
 * @param {ServerStream[]} streams
 * @param {(stream: ServerStream) => number} of
 */
function sum(streams, of) {
  return streams.reduce((total, stream) => total + of(stream), 0);
}

/** @param {TrackStats} video */
function frozen(video) {
  if (video.freezes === 0) return 'no freezes';
  return `${video.freezes} freeze${video.freezes === 1 ? '' : 's'}, ${(video.freezeMs / 1_000).toFixed(1)} s`;
}
