/**
 * The words and numbers of a tile's readings.
 */

/** @typedef {import('../../sdk/types.js').SendStats} SendStats */
/** @typedef {import('../../sdk/types.js').ServerLeg} ServerLeg */
/** @typedef {import('../../sdk/types.js').ServerSending} ServerSending */

/** Why less is shown than would suit. @type {Record<import('../../sdk/types.js').LimitedBy, string>} */
const REASONS = {
  none: '',
  disconnected: 'no media path',
  muted: 'muted',
  hidden: 'out of sight',
  bandwidth: 'bandwidth',
  key_frame: 'key frame awaited',
  publisher: 'not published',
};

/**
 * Which layer the server sends, of which would suit, and why.
 * @param {ServerLeg} leg
 */
export function shownWords(leg) {
  const layer = leg.active ? (leg.rid ?? 'all') : 'nothing';
  const wanted = leg.wanted_rid !== undefined && leg.wanted_rid !== leg.rid ? ` of ${leg.wanted_rid}` : '';
  const reason = REASONS[leg.limited_by] ?? leg.limited_by;
  const wait = leg.playout_delay_ms > 0 ? ` · waits ${ms(leg.playout_delay_ms)}` : '';
  return `sent ${layer}${wanted}${reason && `: ${reason}`}${wait}`;
}

/**
 * What the path to this client is believed to carry.
 * @param {ServerSending} sending
 */
export function pathWords({ target_kbps, estimator_state, path_class }) {
  const path = path_class === 'unknown' ? '' : ` · ${path_class.replaceAll('_', ' ')}`;
  return `estimate ${rate(target_kbps)} · ${estimator_state}${path}`;
}

/**
 * Large to small.
 * @param {SendStats} one
 */
export function place(one) {
  return 'hml'.indexOf(one.layer ?? 'h');
}

/** @param {SendStats} one */
export function sending(one) {
  if (one.fps === 0) return 'off';
  return `${one.width}×${one.height} · ${one.fps} fps · ${Math.round(one.kbps)} k`;
}

/** @param {number} kbps */
export function rate(kbps) {
  return kbps >= 10_000 ? `${(kbps / 1_000).toFixed(1)} Mbit/s` : `${Math.round(kbps)} kbit/s`;
}

/** @param {number} loss */
export function share(loss) {
  return `${(loss * 100).toFixed(loss > 0 && loss < 0.1 ? 1 : 0)} %`;
}

/** @param {number | null | undefined} value */
export function ms(value) {
  return value === null || value === undefined ? '–' : `${Math.round(value)} ms`;
}
