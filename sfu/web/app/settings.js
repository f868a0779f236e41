/**
 * What the page's address asks for, and what it remembers from last time.
 *
 * Query: room, name, identity, token, server, codec, red=1, width, height, fps, slots,
 * autojoin, camera=0, microphone=0.
 */

/** @typedef {import('../sdk/types.js').VideoCodec} VideoCodec */

const CODECS = /** @type {const} */ (['vp8', 'h264', 'vp9', 'av1']);
const REMEMBERED = 'lianmai';

/**
 * @typedef {object} Settings
 * @property {string} name
 * @property {string} room
 * @property {string} identity
 * @property {string} token empty if the server is to be asked
 * @property {string} server empty for the page's own
 * @property {VideoCodec} codec
 * @property {boolean} red
 * @property {{width: number, height: number, fps: number}} camera
 * @property {{audio: number, video: number}} slots
 * @property {boolean} autojoin
 * @property {{camera: boolean, microphone: boolean}} wants
 */

/** @returns {Settings} */
export function readSettings() {
  const query = new URLSearchParams(location.search);
  const saved = remembered();
  const token = query.get('token') ?? '';
  const claims = claimsOf(token);
  const codec = CODECS.find((one) => one === query.get('codec')?.toLowerCase()) ?? 'vp8';
  const slots = positive(query.get('slots'), 8);
  return {
    name: query.get('name') ?? claims.name ?? saved.name ?? '',
    room: claims.room ?? query.get('room') ?? saved.room ?? '',
    identity: claims.identity ?? query.get('identity') ?? tabIdentity(),
    token,
    server: query.get('server') ?? '',
    codec,
    red: isOn(query.get('red')),
    camera: {
      width: positive(query.get('width'), 1280),
      height: positive(query.get('height'), 720),
      fps: positive(query.get('fps'), 30),
    },
    slots: { audio: slots, video: slots },
    autojoin: isOn(query.get('autojoin')),
    wants: { camera: query.get('camera') !== '0', microphone: query.get('microphone') !== '0' },
  };
}

/**
 * Remembers name and room for the next visit.
 * @param {{name: string, room: string}} what
 */
export function remember({ name, room }) {
  try {
    localStorage.setItem(REMEMBERED, JSON.stringify({ name, room }));
  } catch {
    // Storage may be blocked: then nothing is remembered.
  }
}

/**
 * What a token says of its holder; the server alone checks whether it is true.
 * @param {string} token
 * @returns {{name?: string, room?: string, identity?: string}}
 */
export function claimsOf(token) {
  try {
    const part = (token.split('.')[1] ?? '').replace(/-/g, '+').replace(/_/g, '/');
    const bytes = Uint8Array.from(atob(part), (character) => character.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    return { name: claims.name || claims.sub, room: claims.video?.room, identity: claims.sub };
  } catch {
    return {};
  }
}

/** @returns {{name?: string, room?: string}} */
function remembered() {
  try {
    return JSON.parse(localStorage.getItem(REMEMBERED) ?? '{}');
  } catch {
    return {};
  }
}

/** An identity for this tab: a reload takes the place of the page before it. */
function tabIdentity() {
  const made = `guest-${crypto.getRandomValues(new Uint32Array(1))[0]?.toString(36)}`;
  try {
    const known = sessionStorage.getItem(REMEMBERED);
    // A duplicated tab copies the storage: only a reload may keep the identity.
    const [entry] = performance.getEntriesByType('navigation');
    const isReload = /** @type {PerformanceNavigationTiming | undefined} */ (entry)?.type === 'reload';
    if (known && isReload) return known;
    sessionStorage.setItem(REMEMBERED, made);
  } catch {
    // Storage may be blocked: then every page is a new guest.
  }
  return made;
}

/**
 * @param {string | null} text
 * @param {number} otherwise
 */
function positive(text, otherwise) {
  const number = Number.parseInt(text ?? '', 10);
  return number > 0 ? number : otherwise;
}

/** @param {string | null} text */
function isOn(text) {
  return text !== null && text !== '0' && text !== 'false';
}
