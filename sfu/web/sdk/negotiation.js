/**
 * Negotiation: one offer at a time; what is wanted meanwhile waits for the next.
 *
 * In: wishes. Out: offers and their answers, `hooks.accepted`, `hooks.refused`. Limit: one offer under way.
 */

import { SignalBroken } from './errors.js';

/** @typedef {import('./peer.js').Peer} Peer */
/** @typedef {import('./types.js').TrackInfo} TrackInfo */

/**
 * @typedef {object} NegotiationHooks
 * @property {() => {peer: Peer, signal: import('./signal.js').Signal} | null} way null while no offer can be sent
 * @property {(peer: Peer) => boolean} isPresent whether this is still the PeerConnection
 * @property {(peer: Peer, tracks: TrackInfo[]) => void} accepted with the client's own tracks
 * @property {(peer: Peer, error: unknown) => boolean} refused the offer is taken back; says whether to offer what is left
 */

/** The negotiations of a room, whichever PeerConnection is the present one. */
export class Negotiation {
  #hooks;
  /** @type {Promise<void> | null} */
  #underWay = null;
  #wants = { offer: false, iceRestart: false };

  /** @param {NegotiationHooks} hooks */
  constructor(hooks) {
    this.#hooks = hooks;
  }

  /** Forgets what was wanted of a PeerConnection that is gone. */
  reset() {
    this.#wants = { offer: false, iceRestart: false };
  }

  /**
   * Offers what there is now; resolves when nothing more is to be offered, or when that has to wait.
   * @param {{iceRestart?: boolean}} [options]
   * @returns {Promise<void>}
   */
  offer({ iceRestart = false } = {}) {
    this.#wants = { offer: true, iceRestart: this.#wants.iceRestart || iceRestart };
    return this.goOn();
  }

  /**
   * Offers what had to wait.
   * @returns {Promise<void>}
   */
  goOn() {
    this.#underWay ??= this.#run().finally(() => (this.#underWay = null));
    return this.#underWay;
  }

  async #run() {
    while (this.#wants.offer) {
      const way = this.#hooks.way();
      if (!way) return;
      const { peer, signal } = way;
      const { iceRestart } = this.#wants;
      this.reset();
      try {
        const offer = await peer.offer({ iceRestart });
        const reply = await signal.request({ type: 'offer', ...offer });
        if (reply.type !== 'answer') throw new Error(`the server replied "${reply.type}" to "offer"`);
        await peer.accept(reply.sdp, reply.tracks);
        this.#hooks.accepted(peer, reply.tracks);
      } catch (error) {
        if (!this.#hooks.isPresent(peer)) continue; // what is wanted now is wanted of another one
        await peer.rollback();
        if (error instanceof SignalBroken) {
          // Whether the server took the offer is unknown: new ICE credentials bring both to the same state.
          this.#wants = { offer: true, iceRestart: true };
          return;
        }
        if (this.#hooks.refused(peer, error)) this.#wants.offer = true;
      }
    }
  }
}
