/**
 * How long to wait before the next attempt: 0.3 s, doubling to 3 s, each ± 25 % so that a room full of clients does
 * not come back to a restarted server all at once.
 */

const FIRST_MS = 300;
const MOST_MS = 3_000;
const JITTER = 0.25;

/** Growing waits. */
export class Backoff {
  #nextMs = FIRST_MS;

  /** The next wait in milliseconds. */
  next() {
    const wait = this.#nextMs * (1 - JITTER + 2 * JITTER * Math.random());
    this.#nextMs = Math.min(this.#nextMs * 2, MOST_MS);
    return Math.round(wait);
  }

  /** An attempt went well: begin again. */
  reset() {
    this.#nextMs = FIRST_MS;
  }
}

/**
 * Waits; sooner if the network comes back or `signal` is aborted.
 * @param {number} ms
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
export function pause(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      globalThis.removeEventListener('online', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    globalThis.addEventListener('online', done);
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });
}
