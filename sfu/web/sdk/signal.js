/**
 * One WebSocket to the server: numbered requests, their replies, and pings that notice a dead connection.
 *
 * In: messages to send. Out: `handlers.notice` for what the server says of itself, `handlers.broken` once.
 * Limits: `OPEN_WITHIN_MS`, `REPLY_WITHIN_MS`, `PONGS_MISSED_MAX`.
 */

import { RequestRefused, SignalBroken } from './errors.js';

/** @typedef {import('./types.js').ClientMessage} ClientMessage */
/** @typedef {import('./types.js').Notice} Notice */

const REPLY_WITHIN_MS = 10_000; // an offer of 40 sections takes the server a few milliseconds; the rest is a bad network
const OPEN_WITHIN_MS = 8_000; // one lost SYN is repeated after 1, 3 and 7 s
const PROBE_WITHIN_MS = 3_000; // as long as the slowest usable round trip
const PONGS_MISSED_MAX = 3; // ping intervals without a pong before the WebSocket counts as broken

/**
 * The address of an endpoint on the server that `url` names.
 * @param {string} url an origin or an address beneath which the server lives; empty means the page's own
 * @param {string} path such as `v1/signal`
 * @param {Record<string, string | undefined>} query
 */
export function endpoint(url, path, query) {
  const base = new URL(url || '/', globalThis.location?.href);
  base.pathname = `${base.pathname.replace(/\/(v1\/signal)?$/, '')}/${path}`;
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) base.searchParams.set(name, value);
  }
  return base;
}

/**
 * The address of the WebSocket.
 * @param {string} url
 * @param {string} token
 * @param {string} [session] the session to take up again
 */
export function signalUrl(url, token, session) {
  const address = endpoint(url, 'v1/signal', { access_token: token, session });
  address.protocol = address.protocol.replace('http', 'ws');
  return address.href;
}

/**
 * Why the server refuses the token, or null if it does not, or if it cannot be asked. Browsers hide the HTTP status
 * of a refused WebSocket, so the same question is put over HTTP.
 * @param {string} url
 * @param {string} token
 * @returns {Promise<string | null>}
 */
export async function refusalOf(url, token) {
  const address = endpoint(url, 'v1/signal/validate', { access_token: token });
  address.protocol = address.protocol.replace('ws', 'http');
  try {
    const response = await fetch(address, { signal: AbortSignal.timeout(OPEN_WITHIN_MS), cache: 'no-store' });
    if (response.status !== 401 && response.status !== 403) return null;
    const text = (await response.text()).trim();
    try {
      const { reason, error } = JSON.parse(text);
      return String(reason ?? error ?? text);
    } catch {
      return text || 'the server does not accept the access token';
    }
  } catch {
    return null;
  }
}

/** One WebSocket. It is opened once; another connection is another `Signal`. */
export class Signal {
  /** @type {WebSocket} */
  #socket;
  #handlers;
  #nextId = 1;
  /** @type {Map<number, {resolve: (notice: Notice) => void, reject: (error: Error) => void, timer: number}>} */
  #waiting = new Map();
  #pinger = 0;
  #pongAt = 0;
  #ended = false;
  /** The last measured round trip in milliseconds. @type {number | null} */
  rttMs = null;
  /** Resolves when messages can be sent; rejects with {@link SignalBroken}. @type {Promise<void>} */
  opened;
  /** Fails `opened`, while it is not settled. @type {((error: SignalBroken) => void) | null} */
  #failOpening = null;

  /**
   * @param {string} address see {@link signalUrl}
   * @param {object} handlers
   * @param {(notice: Notice) => void} handlers.notice
   * @param {(error: SignalBroken) => void} handlers.broken it was open and broke
   */
  constructor(address, handlers) {
    this.#handlers = handlers;
    this.#socket = new WebSocket(address);
    const timer = setTimeout(() => this.#break('the server does not answer'), OPEN_WITHIN_MS);
    this.opened = new Promise((resolve, reject) => {
      this.#failOpening = reject;
      this.#socket.onopen = () => {
        clearTimeout(timer);
        this.#failOpening = null;
        resolve();
      };
    });
    this.opened.catch(() => {}); // whoever waits for it hears of it
    this.#socket.onclose = (event) => {
      clearTimeout(timer);
      if (this.#failOpening) this.#break('the server cannot be reached');
      else this.#break(`the connection to the server broke${event.reason ? `: ${event.reason}` : ''}`);
    };
    this.#socket.onmessage = (event) => this.#receive(event.data);
  }

  /**
   * Sends a request and waits for its reply; throws {@link RequestRefused} or {@link SignalBroken}.
   * @param {ClientMessage} message
   * @returns {Promise<Notice>}
   */
  request(message) {
    return new Promise((resolve, reject) => {
      if (this.#ended) return reject(new SignalBroken('the connection to the server is closed'));
      const id = this.send(message);
      const timer = setTimeout(() => this.#break('the server did not reply in time'), REPLY_WITHIN_MS);
      this.#waiting.set(id, { resolve, reject, timer });
    });
  }

  /**
   * Sends a message that has no reply; a failure comes as an `error` notice.
   * @param {ClientMessage} message
   */
  send(message) {
    const id = this.#nextId++;
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ id, ...message }));
    return id;
  }

  /**
   * Pings from now on.
   * @param {number} intervalMs
   */
  keepAlive(intervalMs) {
    this.#pongAt = performance.now();
    clearInterval(this.#pinger);
    this.#pinger = setInterval(() => {
      const silentMs = performance.now() - this.#pongAt;
      if (silentMs > intervalMs * PONGS_MISSED_MAX) this.#break('the server stopped answering');
      else this.send({ type: 'ping', sent_ms: performance.now() });
    }, intervalMs);
    this.send({ type: 'ping', sent_ms: this.#pongAt });
  }

  /** Finds out soon whether the server still answers, such as after a change of networks. */
  probe() {
    if (this.#ended || !this.#pinger) return;
    const askedAt = performance.now();
    this.send({ type: 'ping', sent_ms: askedAt });
    setTimeout(() => {
      if (this.#pongAt < askedAt) this.#break('the server stopped answering');
    }, PROBE_WITHIN_MS);
  }

  /** Closes after what was sent. Nothing is heard of it afterwards. */
  close() {
    if (this.#ended) return;
    const error = new SignalBroken('the connection to the server was closed');
    this.#end(error);
    this.#failOpening?.(error);
    this.#socket.close(1000);
  }

  /** @param {unknown} data */
  #receive(data) {
    if (this.#ended || typeof data !== 'string') return;
    /** @type {Notice} */
    let notice;
    try {
      notice = JSON.parse(data);
    } catch {
      return console.warn('lianmai: not JSON from the server', data.slice(0, 200));
    }
    this.#pongAt = performance.now(); // any message shows that the server lives
    if (notice.type === 'pong') {
      this.rttMs = performance.now() - notice.sent_ms;
      return;
    }
    if (notice.type === 'closed') return this.#handlers.notice(notice); // whatever it replies to
    const waiting = notice.re === undefined ? undefined : this.#waiting.get(notice.re);
    if (!waiting || notice.re === undefined) return this.#handlers.notice(notice);
    this.#waiting.delete(notice.re);
    clearTimeout(waiting.timer);
    if (notice.type === 'error') waiting.reject(new RequestRefused(notice.code, notice.reason));
    else waiting.resolve(notice);
  }

  /** @param {string} why */
  #break(why) {
    if (this.#ended) return;
    const error = new SignalBroken(why);
    this.#end(error);
    this.#socket.close();
    if (this.#failOpening) this.#failOpening(error);
    else this.#handlers.broken(error);
  }

  /** @param {SignalBroken} error */
  #end(error) {
    this.#ended = true;
    clearInterval(this.#pinger);
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#waiting.clear();
  }
}
