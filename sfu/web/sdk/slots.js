/**
 * Receive slots: the `recvonly` media sections, negotiated once, into which the server maps tracks.
 *
 * In: the bindings that the server states. Out: `trackattached`, `trackdetached` and `layer` events.
 */

import { receivable } from './codecs.js';

/** @typedef {import('./types.js').SlotBinding} SlotBinding */
/** @typedef {import('./types.js').Kind} Kind */

const SLOTS_MAX = 32; // of a kind: sections beyond the server's limit would be answered `inactive`

/** How many slots there are of each kind. @typedef {Record<Kind, number>} SlotCounts */

/** The slots of one PeerConnection. */
export class Slots {
  #peer;
  #roster;
  #emit;
  /** @type {{kind: Kind, transceiver: RTCRtpTransceiver}[]} */
  #slots = [];
  /** What the server last said. @type {SlotBinding[]} */
  #bindings = [];

  /**
   * @param {RTCPeerConnection} peer
   * @param {import('./roster.js').Roster} roster
   * @param {import('./roster.js').Emit} emit
   */
  constructor(peer, roster, emit) {
    this.#peer = peer;
    this.#roster = roster;
    this.#emit = emit;
  }

  /** How many of each kind the server has taken. @type {SlotCounts} */
  get taken() {
    const of = (/** @type {Kind} */ kind) =>
      this.#slots.filter((slot) => slot.kind === kind && slot.transceiver.currentDirection === 'recvonly').length;
    return { audio: of('audio'), video: of('video') };
  }

  /**
   * Adds slots until there are so many, 32 of a kind at most; says whether any was added, so that a new offer is
   * needed.
   * @param {SlotCounts} wanted
   */
  grow(wanted) {
    let grew = false;
    for (const kind of /** @type {Kind[]} */ (['audio', 'video'])) {
      const own = this.#slots.filter((slot) => slot.kind === kind);
      const idle = own.filter((slot) => slot.transceiver.direction === 'inactive');
      for (let have = own.length - idle.length; have < Math.min(wanted[kind], SLOTS_MAX); have++) {
        const again = idle.shift();
        if (again) again.transceiver.direction = 'recvonly';
        else this.#add(kind);
        grew = true;
      }
    }
    return grew;
  }

  /**
   * Takes back the slots that no answer has taken, and says whether there were any. They stay as inactive sections:
   * Chromium 156 mistakes a stopped transceiver for the next one added after a rollback.
   */
  shrink() {
    const isRefused = (/** @type {RTCRtpTransceiver} */ { direction, currentDirection }) =>
      direction === 'recvonly' && currentDirection !== 'recvonly';
    const refused = this.#slots.filter(({ transceiver }) => isRefused(transceiver));
    for (const { transceiver } of refused) transceiver.direction = 'inactive';
    return refused.length > 0;
  }

  /**
   * What the slots carry from now on.
   * @param {SlotBinding[]} bindings
   */
  bind(bindings) {
    this.#bindings = bindings;
    this.refresh();
  }

  /**
   * What the slots carry after the WebSocket was away: which encodings is said anew, for those that have several.
   * @param {SlotBinding[]} bindings
   */
  rebind(bindings) {
    this.bind(bindings);
    for (const { track } of bindings) this.layer(track, null);
  }

  /** Brings tracks and slots together again, after either changed. */
  refresh() {
    /** @type {Map<string, MediaStreamTrack>} */
    const media = new Map();
    for (const binding of this.#bindings) {
      const slot = this.#slots.find((slot) => slot.transceiver.mid === binding.mid);
      if (slot) media.set(binding.track, slot.transceiver.receiver.track);
    }
    for (const participant of this.#roster.participants.values()) {
      for (const track of participant.tracks.values()) {
        const mediaTrack = media.get(track.id) ?? null;
        if (track.mediaTrack === mediaTrack) continue;
        track.mediaTrack = mediaTrack;
        if (mediaTrack) this.#emit('trackattached', { participant, track, mediaTrack });
        else {
          track.rid = null;
          this.#emit('trackdetached', { participant, track });
        }
      }
    }
  }

  /**
   * The server forwards another encoding.
   * @param {string} trackId
   * @param {string | null} rid
   */
  layer(trackId, rid) {
    const track = this.#roster.track(trackId);
    if (!track || track.rid === rid) return;
    track.rid = rid;
    this.#emit('layer', { participant: track.participant, track, rid });
  }

  /**
   * The track in the slot with this media section.
   * @param {string} mid
   */
  trackAt(mid) {
    const binding = this.#bindings.find((binding) => binding.mid === mid);
    return binding ? this.#roster.track(binding.track) : null;
  }

  /**
   * The receiver of a track, while it is in a slot.
   * @param {string} trackId
   */
  receiverOf(trackId) {
    const mid = this.#bindings.find((binding) => binding.track === trackId)?.mid;
    return this.#slots.find((slot) => slot.transceiver.mid === mid)?.transceiver.receiver ?? null;
  }

  /** @param {Kind} kind */
  #add(kind) {
    const transceiver = this.#peer.addTransceiver(kind, { direction: 'recvonly' });
    receivable(transceiver, kind);
    this.#slots.push({ kind, transceiver });
  }
}
