/**
 * A room: join it, publish, say what is shown, leave. Comes back by itself after a broken network or server.
 *
 * In: the application's calls. Out: the events of `RoomEvents` (types.js) and the state of the room in fields.
 */

import { RoomClosed, RequestRefused, words } from './errors.js';
import { Inside } from './inside.js';
import { Link } from './link.js';
import { tracksFor } from './media.js';
import { Negotiation } from './negotiation.js';
import { Peer } from './peer.js';
import { LocalTrack } from './publisher.js';
import { Roster } from './roster.js';

/** @typedef {import('./types.js').Strategy} Strategy */
/** @typedef {import('./types.js').RoomOptions} RoomOptions */
/** @typedef {import('./types.js').JoinOptions} JoinOptions */
/** @typedef {import('./types.js').RoomEvents} RoomEvents */
/** @typedef {import('./types.js').StateDetail} StateDetail */
/** @typedef {import('./types.js').Source} Source */
/** @typedef {import('./types.js').Notice} Notice */
/** @typedef {import('./types.js').Tile} Tile */
/** @typedef {import('./types.js').ClientMessage} ClientMessage */

const PROTOCOL = 1;
const VERSION = '0.1.0';
const TILES_MAX = 64; // the most that one layout may state
const RESTART_EVERY_MS = 5_000; // between attempts to find a new media path
const RESTARTS_MAX = 4; // then a new session: 20 s is longer than the server waits for media

/** A room on the server. */
export class Room extends EventTarget {
  #options;
  #roster = new Roster((name, detail) => this.#emit(name, detail));
  /** @type {Link | null} */
  #link = null;
  /** @type {Peer | null} */
  #peer = null;
  /** Tracks that this SDK opened and must close. @type {Set<MediaStreamTrack>} */
  #owned = new Set();
  #listening = new AbortController();
  /** @type {Tile[] | null} */
  #layout = null;
  #layoutSent = '';
  /** Whether the server took the present PeerConnection, so that it may be negotiated again. */
  #entered = false;
  #negotiation = new Negotiation({
    way: () => {
      const [peer, signal] = [this.#peer, this.#link?.signal];
      return peer && signal && this.#entered ? { peer, signal } : null; // goes on when joined or resumed
    },
    isPresent: (peer) => peer === this.#peer,
    accepted: (peer, tracks) => this.#accepted(peer, tracks),
    refused: (peer, error) => this.#refused(peer, error),
  });
  #mediaLost = false;
  #restarts = 0;
  #restartTimer = 0;
  /** @type {StateDetail} */
  #linkState = { state: 'new' };
  /** @type {{resolve: () => void, reject: (error: Error) => void} | null} */
  #joining = null;
  /** The state of the room, with the reason if it is not connected. @type {StateDetail} */
  state = { state: 'new' };
  /** The room's name, once joined. */
  name = '';
  /** The client's own participant id, once joined. @type {string | null} */
  participantId = null;
  /** The token that was given last. */
  #token = '';
  #inside;
  /** What this client publishes, by source. @type {Map<Source, LocalTrack>} */
  local = new Map();

  /** @param {RoomOptions} options */
  constructor(options) {
    super();
    this.#options = {
      url: options.url ?? '',
      getToken: options.getToken ?? (() => options.token ?? ''),
      slots: { ...(options.slots ?? { audio: 8, video: 8 }) },
      codec: options.codec ?? 'vp8',
      dtx: options.dtx ?? true,
      red: options.red ?? false,
      client: options.client ?? 'lianmai-web',
    };
    this.#inside = new Inside(this.#options.url, (how) => (how === 'new' ? this.#newToken() : this.#token));
  }

  /** Everybody else, by participant id, in the order of joining. */
  get participants() {
    return this.#roster.participants;
  }

  /** The browser's PeerConnection of the present session, for what this class does not cover. */
  get peerConnection() {
    return this.#peer?.connection ?? null;
  }

  /**
   * Listens to an event, with the detail typed; returns what stops listening. `addEventListener` works too.
   * @template {keyof RoomEvents} K
   * @param {K} name
   * @param {(detail: RoomEvents[K]) => void} listener
   * @returns {() => void}
   */
  on(name, listener) {
    const wrapped = (/** @type {Event} */ event) => listener(/** @type {CustomEvent} */ (event).detail);
    this.addEventListener(name, wrapped);
    return () => this.removeEventListener(name, wrapped);
  }

  /**
   * Joins. Resolves when in the room; keeps trying while the server cannot be reached (`state` events tell), and
   * rejects with {@link RoomClosed} if the server refuses or `leave` is called.
   * @param {JoinOptions} [media]
   * @returns {Promise<void>}
   */
  async join(media = {}) {
    if (this.#link) throw new Error('a Room is joined once; make another one');
    const link = new Link(this.#options.url, {
      token: () => this.#newToken(),
      prepare: () => this.#prepare(),
      joined: (joined) => this.#joined(joined),
      resumed: (resumed) => this.#resumed(resumed),
      notice: (notice) => this.#notice(notice),
      state: (detail) => this.#updateState(detail),
    });
    this.#link = link;
    await this.#open(media);
    if (this.#link !== link) {
      this.#stopOwned(); // left while the devices were opening
      throw new RoomClosed('left', 'You left the room.');
    }
    const { signal } = this.#listening;
    globalThis.addEventListener('pagehide', this.#onPageHide, { signal });
    globalThis.addEventListener('pageshow', this.#onPageShow, { signal });
    globalThis.addEventListener('online', this.#onOnline, { signal });
    const joined = new Promise((/** @type {(value: void) => void} */ resolve, reject) => {
      this.#joining = { resolve, reject };
    });
    void link.run().then((closed) => this.#close(closed));
    return joined;
  }

  /** Leaves the room at once. */
  leave() {
    const link = this.#link;
    if (!link || this.state.state === 'closed') return;
    if (this.#joining || this.#peer) link.stop();
    else this.#close(new RoomClosed('left', 'You left the room.'));
  }

  /**
   * Publishes a track, or puts another device's media in the place of the present one.
   * @param {Source} source
   * @param {MediaStreamTrack} mediaTrack
   * @param {{muted?: boolean, strategy?: Strategy}} [options] `strategy`: how it is carried, if not as the room has it
   * @returns {Promise<void>}
   */
  async publish(source, mediaTrack, { muted = false, strategy } = {}) {
    const known = this.local.get(source);
    if (known) {
      this.#watchEnd(known, mediaTrack);
      const resized = await this.#peer?.publisher.replace(known);
      this.mute(source, muted);
      if (strategy) this.carry(source, strategy);
      if (resized) await this.#negotiation.offer();
      return;
    }
    const local = this.#addLocal(source, mediaTrack, muted, strategy);
    this.#peer?.publisher.add(local);
    await this.#negotiation.offer();
  }

  /**
   * Ends the publishing of a source.
   * @param {Source} source
   */
  async unpublish(source) {
    const local = this.local.get(source);
    if (!local) return;
    this.#drop(local);
    await this.#negotiation.offer();
  }

  /**
   * Mutes or unmutes an own track: nothing of it is sent, and everyone in the room is told.
   * @param {Source} source
   * @param {boolean} muted
   */
  mute(source, muted) {
    const local = this.local.get(source);
    if (!local) return;
    const changed = local.muted !== muted;
    local.muted = muted;
    if (this.#peer) this.#peer.publisher.applyMute(local);
    else local.mediaTrack.enabled = !muted;
    if (!changed) return;
    if (local.id) this.#send({ type: 'mute', track: local.id, muted });
    this.#emit('localmuted', { track: local, muted });
  }

  /**
   * Has an own track carried in this way from now on, without a new offer: to everybody who has not said otherwise.
   * @param {Source} source
   * @param {Strategy} strategy
   */
  carry(source, strategy) {
    const local = this.local.get(source);
    if (!local) return;
    local.strategy = strategy;
    this.#reconcileStrategy(local);
  }

  /**
   * States which pictures are shown and how large, in device pixels; replaces what was stated before. Video tracks
   * that are not listed are not sent. {@link LayoutObserver} does this from elements.
   * @param {Tile[]} tiles
   */
  setLayout(tiles) {
    this.#layout = tiles;
    this.#sendLayout();
  }

  /**
   * What is received and sent, over the time since the sample before.
   * @returns {Promise<import('./types.js').RoomStats>}
   */
  async stats() {
    const signalRttMs = this.#link?.signal?.rttMs ?? null;
    if (this.#peer) return this.#peer.sampler.sample(signalRttMs);
    return { atMs: performance.now(), received: [], sent: [], rttMs: null, signalRttMs, availableKbps: null };
  }

  /**
   * What the server says of this client: what it gets and what it sends, how, and why it is not more. Null while it
   * cannot be asked, or does not say.
   * @returns {Promise<import('./types.js').ServerStats | null>}
   */
  async serverStats() {
    if (!this.participantId || this.state.state !== 'connected') return null;
    return this.#inside.read(this.name, this.participantId);
  }

  /**
   * How loud a received track is just now, 0 to 1.
   * @param {string} track
   */
  audioLevel(track) {
    const [source] = this.#peer?.slots.receiverOf(track)?.getSynchronizationSources() ?? [];
    return source?.audioLevel ?? 0;
  }

  // Joining and the state of the room.

  async #newToken() {
    this.#token = await this.#options.getToken();
    return this.#token;
  }

  /** @param {JoinOptions} media */
  async #open(media) {
    const { camera, microphone, refusals, opened } = await tracksFor(media);
    for (const track of opened) this.#owned.add(track);
    if (microphone) this.#addLocal('microphone', microphone, media.muted?.microphone ?? false, media.strategy?.microphone);
    if (camera) this.#addLocal('camera', camera, media.muted?.camera ?? false, media.strategy?.camera);
    if (refusals.length > 0) this.#emit('devicerefused', { refusals });
  }

  /** @returns {Promise<ClientMessage>} */
  async #prepare() {
    this.#peer?.close();
    this.#entered = false;
    this.#mediaLost = false;
    this.#restarts = 0;
    clearTimeout(this.#restartTimer);
    this.#negotiation.reset();
    const { codec, dtx, red, slots } = this.#options;
    this.#peer = new Peer({
      codec,
      dtx,
      red,
      slots,
      roster: this.#roster,
      emit: (name, detail) => this.#emit(name, detail),
      locals: this.local.values(),
      media: (flows) => this.#mediaFlows(flows),
    });
    const offer = await this.#peer.offer();
    return { type: 'join', protocol: PROTOCOL, client: `${this.#options.client}/${VERSION}`, ...offer };
  }

  /** @param {import('./types.js').Joined} joined */
  async #joined(joined) {
    const peer = this.#peer;
    if (!peer) return;
    this.name = joined.room.name;
    this.participantId = joined.participant;
    this.#layoutSent = '';
    const accepted = peer.accept(joined.sdp, joined.tracks);
    this.#roster.replace(joined.room.participants);
    peer.slots.rebind(joined.slots);
    this.#sendLayout();
    await accepted;
    this.#reconcileMutes(joined.tracks);
    this.#joining?.resolve();
    this.#joining = null;
    this.#entered = true;
    void this.#negotiation.goOn();
  }

  /** @param {import('./link.js').Resumed} resumed */
  #resumed({ room, tracks, slots }) {
    this.#roster.replace(room.participants);
    this.#peer?.slots.rebind(slots);
    this.#layoutSent = '';
    this.#sendLayout();
    this.#reconcileMutes(tracks);
    if (this.#mediaLost) this.#restartIce();
    else void this.#negotiation.goOn();
  }

  /**
   * The server's word on own tracks against what was muted while it could not hear.
   * @param {import('./types.js').TrackInfo[]} tracks
   */
  #reconcileMutes(tracks) {
    for (const local of this.local.values()) {
      const known = tracks.find((track) => track.id === local.id);
      if (known && known.muted !== local.muted) this.#send({ type: 'mute', track: known.id, muted: local.muted });
      this.#reconcileStrategy(local);
    }
  }

  /** @param {RoomClosed} closed */
  #close(closed) {
    clearTimeout(this.#restartTimer);
    this.#listening.abort();
    this.#link = null;
    this.#peer?.close();
    this.#peer = null;
    this.#stopOwned();
    this.#updateState({ state: 'closed', code: closed.code, reason: closed.message });
    this.#joining?.reject(closed);
    this.#joining = null;
  }

  /** @param {StateDetail} [linkState] what the link says, if it says something new */
  #updateState(linkState = this.#linkState) {
    this.#linkState = linkState;
    const next =
      this.#linkState.state === 'connected' && this.#mediaLost
        ? /** @type {StateDetail} */ ({
            state: 'reconnecting',
            code: 'media_silent',
            reason: 'sound and picture do not get through; a firewall may block UDP',
          })
        : this.#linkState;
    if (JSON.stringify(next) === JSON.stringify(this.state)) return;
    this.state = next;
    this.#emit('state', next);
  }

  #onPageHide = () => this.#send({ type: 'leave' });
  #onPageShow = (/** @type {PageTransitionEvent} */ event) => {
    if (event.persisted) this.#link?.rejoin('session_over', 'the page was away');
  };
  #onOnline = () => {
    this.#link?.signal?.probe();
    if (this.#peer && this.#linkState.state === 'connected') this.#restartIce();
  };

  // What the server says.

  /** @param {Notice} notice */
  #notice(notice) {
    switch (notice.type) {
      case 'participant_joined':
        if (notice.participant.id !== this.participantId) this.#roster.join(notice.participant);
        return this.#peer?.slots.refresh();
      case 'participant_left':
        return this.#roster.leave(notice.participant, notice.reason);
      case 'track_published':
        this.#roster.publish(notice.participant, notice.track);
        return this.#peer?.slots.refresh();
      case 'track_unpublished':
        return this.#roster.unpublish(notice.participant, notice.track);
      case 'track_muted':
        return this.#roster.mute(notice.participant, notice.track, notice.muted);
      case 'slots':
        return this.#peer?.slots.bind(notice.slots);
      case 'slot_layer':
        return this.#peer?.slots.layer(notice.track, notice.rid ?? null);
      case 'demand':
        return void this.#meet(notice);
      case 'slots_needed':
        return this.#growSlots(notice);
      case 'ice_restart_needed':
        return this.#restartIce();
      case 'error':
        return this.#emit('error', { code: notice.code, reason: notice.reason });
      case 'joined':
      case 'resumed':
      case 'answer':
      case 'pong':
      case 'closed':
        return; // replies, and what the link handles
      default:
        console.debug('lianmai: a message of a newer server', notice);
    }
  }

  /**
   * Sends as much of a track as those who watch it can take.
   * @param {import('./types.js').Demand} demand
   */
  async #meet(demand) {
    const applied = await this.#peer?.publisher.meet(demand);
    if (applied) this.#send({ type: 'applied', ...applied });
  }

  /** @param {import('./slots.js').SlotCounts} wanted */
  #growSlots(wanted) {
    if (this.#peer?.slots.grow(wanted)) void this.#negotiation.offer();
  }

  /**
   * The server took an offer.
   * @param {Peer} peer
   * @param {import('./types.js').TrackInfo[]} tracks
   */
  #accepted(peer, tracks) {
    this.#options.slots = peer.slots.taken; // a later session begins with them
    this.#reconcileMutes(tracks); // a track that had no name yet may have been muted
  }

  /**
   * An offer failed: takes back what was new in it, or joins anew if what was there before does not work either. Says
   * whether anything is left to offer.
   * @param {Peer} peer
   * @param {unknown} error
   */
  #refused(peer, error) {
    const isRefused = error instanceof RequestRefused;
    const code = isRefused ? error.code : 'failed';
    const fresh = isRefused ? peer.publisher.fresh() : [];
    for (const local of fresh) this.#drop(local);
    const isHealed = fresh.length > 0 || (isRefused && peer.slots.shrink());
    if (!isHealed && code !== 'not_allowed' && code !== 'limit_reached') this.#link?.rejoin(code, words(error));
    this.#emit('error', { code, reason: words(error) });
    return fresh.length > 0;
  }

  // Media path.

  /** @param {boolean} flows */
  #mediaFlows(flows) {
    this.#mediaLost = !flows;
    this.#updateState();
    if (flows) {
      this.#restarts = 0;
      clearTimeout(this.#restartTimer);
    } else this.#restartIce();
  }

  #restartIce() {
    if (this.#linkState.state !== 'connected') return; // done when resumed
    clearTimeout(this.#restartTimer);
    if (this.#mediaLost && ++this.#restarts > RESTARTS_MAX) {
      this.#link?.rejoin('media_lost', 'sound and picture do not get through');
      return;
    }
    void this.#negotiation.offer({ iceRestart: true });
    this.#restartTimer = setTimeout(() => {
      if (this.#mediaLost) this.#restartIce();
    }, RESTART_EVERY_MS);
  }

  // Own tracks and the wire.

  #stopOwned() {
    for (const track of this.#owned) track.stop();
    this.#owned.clear();
  }

  /** @param {LocalTrack} local */
  #drop(local) {
    this.local.delete(local.source);
    if (this.#owned.delete(local.mediaTrack)) local.mediaTrack.stop();
    this.#peer?.publisher.remove(local.source);
  }

  /**
   * @param {Source} source
   * @param {MediaStreamTrack} mediaTrack
   * @param {boolean} muted
   * @param {Strategy} [strategy]
   */
  #addLocal(source, mediaTrack, muted, strategy) {
    const local = new LocalTrack(source, mediaTrack, muted);
    local.strategy = strategy;
    this.local.set(source, local);
    this.#watchEnd(local, mediaTrack);
    return local;
  }

  /**
   * @param {LocalTrack} local
   * @param {MediaStreamTrack} mediaTrack
   */
  #watchEnd(local, mediaTrack) {
    if (local.mediaTrack !== mediaTrack && this.#owned.delete(local.mediaTrack)) local.mediaTrack.stop();
    local.mediaTrack = mediaTrack;
    mediaTrack.addEventListener('ended', () => {
      if (local.mediaTrack !== mediaTrack || this.local.get(local.source) !== local) return;
      this.mute(local.source, true);
      this.#emit('localended', { track: local });
    });
  }

  /**
   * Tells the server how an own track is carried, if it has not heard of that.
   * @param {LocalTrack} local
   */
  #reconcileStrategy(local) {
    if (!local.id || !this.#link?.signal || local.carried === local.strategy) return;
    local.carried = local.strategy;
    this.#send({ type: 'carry', track: local.id, strategy: local.strategy ?? {} });
  }

  #sendLayout() {
    if (!this.#layout || !this.#link?.signal) return;
    const tiles = this.#layout.filter((tile) => tile.strategy || this.#roster.track(tile.track)?.kind === 'video').slice(0, TILES_MAX);
    const text = JSON.stringify(tiles);
    if (text === this.#layoutSent) return;
    this.#layoutSent = text;
    this.#send({ type: 'layout', tiles });
  }

  /** @param {ClientMessage} message */
  #send(message) {
    this.#link?.signal?.send(message);
  }

  /**
   * @template {keyof RoomEvents} K
   * @param {K} name
   * @param {RoomEvents[K]} detail
   */
  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
