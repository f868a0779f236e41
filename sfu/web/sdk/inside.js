/**
 * What the server says of this client: `GET /v1/rooms/{room}/stats`, asked with the client's token.
 *
 * In: the room's name, the client's participant id. Out: the server's answer, or null while there is none. Time:
 * `ANSWER_WITHIN_MS`; a server that refuses is left alone for `REFUSED_FOR_MS`. Limit: one question at a time.
 */

import { endpoint } from './signal.js';

/** @typedef {import('./types.js').ServerStats} ServerStats */

const ANSWER_WITHIN_MS = 3_000; // the server itself gives up after one second
const REFUSED_FOR_MS = 30_000; // an older server, or one that lets nobody look
const BUSY_FOR_MS = 2_000;

/** Asks the server. */
export class Inside {
  #url;
  #token;
  #silentUntil = 0;
  /** @type {Promise<ServerStats | null> | null} */
  #asked = null;

  /**
   * @param {string} url the server
   * @param {(how: 'present' | 'new') => string | Promise<string>} token
   */
  constructor(url, token) {
    this.#url = url;
    this.#token = token;
  }

  /**
   * What the server says now; who asks while it is being asked gets the same answer.
   * @param {string} room
   * @param {string} participant
   * @returns {Promise<ServerStats | null>}
   */
  read(room, participant) {
    if (performance.now() < this.#silentUntil) return Promise.resolve(null);
    this.#asked ??= this.#ask(room, participant).finally(() => (this.#asked = null));
    return this.#asked;
  }

  /**
   * @param {string} room
   * @param {string} participant
   */
  async #ask(room, participant) {
    const address = endpoint(this.#url, `v1/rooms/${encodeURIComponent(room)}/stats`, { participant });
    address.protocol = address.protocol.replace('ws', 'http');
    try {
      let response = await this.#fetch(address, 'present');
      if (response.status === 401) response = await this.#fetch(address, 'new'); // it expired during the call
      if (!response.ok) return this.#silence(isBusy(response.status) ? BUSY_FOR_MS : REFUSED_FOR_MS);
      const { at_ms, participants, worker } = await response.json();
      const [own] = participants;
      return own ? { ...own, at_ms, worker } : null;
    } catch {
      return this.#silence(BUSY_FOR_MS); // no network, or an answer that is none
    }
  }

  /**
   * @param {URL} address
   * @param {'present' | 'new'} how
   */
  async #fetch(address, how) {
    const headers = { Authorization: `Bearer ${await this.#token(how)}` };
    return fetch(address, { headers, cache: 'no-store', signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
  }

  /** @param {number} forMs */
  #silence(forMs) {
    this.#silentUntil = performance.now() + forMs;
    return null;
  }
}

/** @param {number} status */
function isBusy(status) {
  return status === 404 || status === 429 || status >= 500; // 404: the room is just being joined anew
}
