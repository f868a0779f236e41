/**
 * Keeps the client in the room: opens WebSockets, takes the session up again while the server still holds it, joins
 * anew when it does not, and knows when to stop.
 *
 * In: hooks of the room. Out: `hooks.state`, and the reason for the end. Time: `Backoff` between attempts.
 */

import { Backoff, pause } from './backoff.js';
import { RequestRefused, RoomClosed, SignalBroken, words } from './errors.js';
import { Signal, refusalOf, signalUrl } from './signal.js';

/** @typedef {import('./types.js').Notice} Notice */
/** @typedef {import('./types.js').Joined} Joined */
/** @typedef {import('./types.js').StateCode} StateCode */
/** @typedef {import('./types.js').StateDetail} StateDetail */
/** @typedef {import('./types.js').ClientMessage} ClientMessage */
/** @typedef {Extract<Notice, {type: 'resumed'}>} Resumed */

/**
 * How a connection ended: `resume` it, `rejoin` with a new session, `rejoin now` without waiting, or `stop`.
 * @typedef {{how: 'resume' | 'rejoin' | 'rejoin now' | 'stop', code: StateCode, reason: string}} End
 */

/**
 * @typedef {object} LinkHooks
 * @property {() => string | Promise<string>} token
 * @property {() => Promise<ClientMessage>} prepare makes a new PeerConnection and the `join` that offers it
 * @property {(joined: Joined) => Promise<void>} joined
 * @property {(resumed: Resumed) => void} resumed
 * @property {(notice: Notice) => void} notice
 * @property {(detail: StateDetail) => void} state
 */

const RESUMED_WITHIN_MS = 5_000; // the server answers at once; the rest is a bad network
const STEADY_AFTER_MS = 5_000; // a connection that lasted so long was a good one: back off from the beginning

/** The connection to the server over all its WebSockets. */
export class Link {
  #url;
  #hooks;
  #stopped = new AbortController();
  #backoff = new Backoff();
  /** @type {string | undefined} */
  #session;
  #resumeWithinMs = 0;
  #resumeBy = 0;
  #pingMs = 5_000;
  #wasJoined = false;
  #upAt = Infinity;
  /** Ends the present connection. @type {(end: End) => void} */
  #finish = () => {};
  /** @type {((resumed: Resumed) => void) | null} */
  #onResumed = null;
  /** The WebSocket, while messages can be sent. @type {Signal | null} */
  signal = null;

  /**
   * @param {string} url
   * @param {LinkHooks} hooks
   */
  constructor(url, hooks) {
    this.#url = url;
    this.#hooks = hooks;
  }

  /**
   * Connects and stays connected; resolves when it is over for good.
   * @returns {Promise<RoomClosed>}
   */
  async run() {
    /** @type {StateDetail} */
    let detail = { state: 'connecting' };
    for (;;) {
      this.#hooks.state(detail);
      const end = await this.#connect();
      if (this.#stopped.signal.aborted) return new RoomClosed('left', 'You left the room.');
      if (end.how === 'stop') return new RoomClosed(end.code, end.reason);
      if (end.how !== 'resume') this.#session = undefined;
      if (performance.now() - this.#upAt > STEADY_AFTER_MS) this.#backoff.reset();
      this.#upAt = Infinity;
      const state = this.#wasJoined ? 'reconnecting' : 'connecting';
      detail =
        globalThis.navigator?.onLine === false
          ? { state, code: 'offline', reason: 'this device has no network' }
          : { state, code: end.code, reason: end.reason };
      const retryMs = end.how === 'rejoin now' ? 0 : this.#backoff.next();
      this.#hooks.state({ ...detail, retryMs });
      await pause(retryMs, this.#stopped.signal);
      if (this.#stopped.signal.aborted) return new RoomClosed('left', 'You left the room.');
    }
  }

  /**
   * Gives up the present session and joins anew.
   * @param {StateCode} code
   * @param {string} reason
   */
  rejoin(code, reason) {
    this.signal?.send({ type: 'leave' });
    this.#finish({ how: 'rejoin', code, reason });
  }

  /** Leaves the room and stops. */
  stop() {
    this.signal?.send({ type: 'leave' });
    this.#stopped.abort();
    this.#finish({ how: 'stop', code: 'left', reason: '' });
  }

  /**
   * One WebSocket from its opening to its end.
   * @returns {Promise<End>}
   */
  async #connect() {
    const session = performance.now() < this.#resumeBy ? this.#session : undefined;
    /** @type {Signal | null} */
    let signal = null;
    /** @type {Promise<End>} */
    const ended = new Promise((resolve) => (this.#finish = resolve));
    try {
      const join = session ? null : this.#hooks.prepare(); // while the token comes and the WebSocket opens
      join?.catch(() => {}); // heard of in #enter
      const token = await this.#token();
      signal = new Signal(signalUrl(this.#url, token, session), {
        notice: (notice) => this.#notice(notice),
        broken: (error) => this.#finish({ how: 'resume', code: 'signal_lost', reason: error.message }),
      });
      const entered = join ? this.#enter(signal, token, join) : this.#takeUp(signal, token);
      entered.catch(() => {}); // lost if the end comes first
      const end = (await Promise.race([entered.then(() => null), ended])) ?? (await ended);
      if (end.how === 'resume' && this.signal) this.#resumeBy = performance.now() + this.#resumeWithinMs;
      return end;
    } catch (error) {
      return this.#endOf(error);
    } finally {
      this.signal = null;
      this.#onResumed = null;
      this.#finish = () => {};
      signal?.close();
    }
  }

  /**
   * @param {Signal} signal
   * @param {string} token
   * @param {Promise<ClientMessage>} join
   */
  async #enter(signal, token, join) {
    await this.#opened(signal, token);
    const reply = await signal.request(await join);
    if (reply.type !== 'joined') throw new SignalBroken(`the server replied "${reply.type}" to "join"`);
    const isFirst = !this.#wasJoined;
    this.#session = reply.session;
    this.#resumeWithinMs = reply.resume_within_ms;
    this.#pingMs = reply.ping_interval_ms;
    this.signal = signal;
    const answered = this.#hooks.joined(reply);
    this.#up(signal);
    try {
      await answered;
    } catch (error) {
      if (isFirst) throw new RoomClosed('failed', words(error)); // it would fail again
      throw error;
    }
  }

  /**
   * @param {Signal} signal
   * @param {string} token
   */
  async #takeUp(signal, token) {
    /** @type {Promise<Resumed>} */
    const resumed = new Promise((resolve) => (this.#onResumed = resolve));
    await this.#opened(signal, token);
    const late = new Promise((resolve) => setTimeout(resolve, RESUMED_WITHIN_MS, null));
    const notice = await Promise.race([resumed, late]);
    if (!notice) throw new SignalBroken('the server does not answer');
    this.signal = signal;
    this.#hooks.resumed(notice);
    this.#up(signal);
  }

  /** @param {Signal} signal */
  #up(signal) {
    this.#wasJoined = true;
    this.#upAt = performance.now();
    signal.keepAlive(this.#pingMs);
    this.#hooks.state({ state: 'connected' });
  }

  /** @returns {Promise<string>} */
  async #token() {
    try {
      return await this.#hooks.token();
    } catch (error) {
      if (/** @type {{final?: boolean}} */ (error)?.final) throw error;
      throw new SignalBroken(`no access token: ${words(error)}`);
    }
  }

  /**
   * @param {Signal} signal
   * @param {string} token
   */
  async #opened(signal, token) {
    try {
      await signal.opened;
    } catch (error) {
      const refusal = await refusalOf(this.#url, token);
      if (refusal !== null) throw new RoomClosed('unauthorized', refusal);
      throw error;
    }
  }

  /** @param {Notice} notice */
  #notice(notice) {
    if (notice.type === 'resumed') return this.#onResumed?.(notice);
    if (notice.type !== 'closed') return this.#hooks.notice(notice);
    const { code, reason } = notice;
    switch (code) {
      case 'session_over':
        return this.#finish({ how: 'rejoin now', code, reason });
      case 'media_lost':
      case 'server_closing':
        return this.#finish({ how: 'rejoin', code, reason });
      case 'left':
      case 'replaced':
      case 'refused':
        return this.#finish({ how: 'stop', code, reason });
    }
  }

  /**
   * @param {unknown} error
   * @returns {End}
   */
  #endOf(error) {
    const reason = words(error);
    if (error instanceof SignalBroken) return { how: 'resume', code: 'unreachable', reason };
    if (error instanceof RoomClosed) return { how: 'stop', code: error.code, reason };
    if (error instanceof RequestRefused) {
      // Back in the room after a restart of the server, a full room may empty again.
      const again = this.#wasJoined && error.code === 'limit_reached';
      return { how: again ? 'rejoin' : 'stop', code: error.code, reason };
    }
    if (/** @type {{final?: boolean}} */ (error)?.final) return { how: 'stop', code: 'token', reason };
    return { how: this.#wasJoined ? 'rejoin' : 'stop', code: 'failed', reason };
  }
}
