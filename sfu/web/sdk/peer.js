/**
 * One PeerConnection with the server: own tracks first, then receive slots, all in one bundle; offers, answers, and
 * whether media flows.
 *
 * In: tracks, answers. Out: offers, `handlers.media`. Time: `LOST_AFTER_MS` from the browser's "disconnected".
 */

import { withDtx } from './codecs.js';
import { Publisher } from './publisher.js';
import { Slots } from './slots.js';
import { StatsSampler } from './stats.js';

/** @typedef {import('./types.js').Publish} Publish */
/** @typedef {import('./types.js').TrackInfo} TrackInfo */

const LOST_AFTER_MS = 1_000; // "disconnected" means a few missed checks and often heals within one more

/** One PeerConnection. */
export class Peer {
  #connection;
  #dtx;
  #onMedia;
  #timer = 0;

  /**
   * @param {object} options
   * @param {import('./types.js').VideoCodec} options.codec
   * @param {boolean} options.dtx
   * @param {boolean} options.red
   * @param {{audio: number, video: number}} options.slots
   * @param {import('./roster.js').Roster} options.roster
   * @param {import('./roster.js').Emit} options.emit
   * @param {Iterable<import('./publisher.js').LocalTrack>} options.locals
   * @param {(flows: boolean) => void} options.media called when media begins or ceases to flow
   */
  constructor({ codec, dtx, red, slots, roster, emit, locals, media }) {
    this.#dtx = dtx;
    this.#onMedia = media;
    this.#connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle', rtcpMuxPolicy: 'require' });
    this.publisher = new Publisher(this.#connection, codec, red);
    this.slots = new Slots(this.#connection, roster, emit);
    this.sampler = new StatsSampler(this.#connection, this.slots, this.publisher);
    for (const local of locals) this.publisher.add(local);
    this.slots.grow(slots);
    this.#connection.oniceconnectionstatechange = () => this.#watch();
    this.#connection.onconnectionstatechange = () => this.#watch();
  }

  /** Whether media can flow. */
  get flows() {
    return this.#connection.connectionState === 'connected';
  }

  /** The browser's own object, for what this class does not cover. */
  get connection() {
    return this.#connection;
  }

  /**
   * A new offer, already the local description. The server is ICE-lite: it needs no candidates of ours.
   * @param {{iceRestart?: boolean}} [options]
   * @returns {Promise<{sdp: string, tracks: Publish[]}>}
   */
  async offer(options) {
    const offer = await this.#connection.createOffer(options);
    await this.#connection.setLocalDescription(offer);
    return { sdp: offer.sdp ?? '', tracks: this.publisher.publishes() };
  }

  /**
   * The server's answer to the last offer.
   * @param {string} sdp
   * @param {TrackInfo[]} tracks
   */
  async accept(sdp, tracks) {
    await this.#connection.setRemoteDescription({ type: 'answer', sdp: this.#dtx ? withDtx(sdp) : sdp });
    this.publisher.settle(tracks);
  }

  /** Takes the last offer back. */
  async rollback() {
    if (this.#connection.signalingState === 'have-local-offer') {
      await this.#connection.setLocalDescription({ type: 'rollback' });
    }
  }

  /** Ends it; nothing is heard of it afterwards. */
  close() {
    clearTimeout(this.#timer);
    this.#onMedia = () => {};
    this.#connection.close();
  }

  #watch() {
    clearTimeout(this.#timer);
    const { iceConnectionState, connectionState } = this.#connection;
    if (connectionState === 'connected') this.#onMedia(true);
    else if (connectionState === 'failed' || iceConnectionState === 'failed') this.#onMedia(false);
    else if (iceConnectionState === 'disconnected') {
      this.#timer = setTimeout(() => this.#onMedia(false), LOST_AFTER_MS);
    }
  }
}
