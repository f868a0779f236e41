/**
 * What this client sends: which encodings of a track, in which sizes and rates, and what the server is told of them.
 *
 * Simulcast as measured in Chromium 156: rids `h`, `m`, `l` from large to small, an explicit scalabilityMode (VP9 and
 * AV1 send one encoding only without it), absolute sizes where the browser knows `scaleResolutionDownTo` (relative
 * ones lose the small encodings of a 640x360 camera), and frames rather than size given up when the network is narrow.
 */

import { sendable } from './codecs.js';

/** @typedef {import('./types.js').Strategy} Strategy */
/** @typedef {import('./types.js').Source} Source */
/** @typedef {import('./types.js').Kind} Kind */
/** @typedef {import('./types.js').Layer} Layer */
/** @typedef {import('./types.js').Publish} Publish */
/** @typedef {import('./types.js').VideoCodec} VideoCodec */
/** @typedef {import('./types.js').Demand} Demand */
/** @typedef {import('./types.js').Applied} Applied */

/**
 * What is sent of one source. `limits` has by rid what the application allows, and what was there before the last change
 * and is there after it unless the browser refused, in bit/s, undefined for no limit; a single encoding's rid is ''.
 * @typedef {{local: LocalTrack | null, transceiver: RTCRtpTransceiver, tail: Promise<unknown>, demand: Demand | null,
 *   limits: Map<string, {own: number | undefined, set: (number | undefined)[]}>}} Section
 */

/**
 * lib.dom does not know these members yet.
 * @typedef {RTCRtpEncodingParameters & {scalabilityMode?: string,
 *   scaleResolutionDownTo?: {maxWidth: number, maxHeight: number}}} Encoding
 */

const RIDS = ['h', 'm', 'l'];
const SIDE_MIN = 90; // pixels of the short side; a smaller encoding serves no tile

/** Pixels and the rate that they need in kbit/s at 30 frames a second: the ladder of docs.byteplus.com 70139. */
const LADDER = /** @type {const} */ ([
  [160 * 90, 100],
  [256 * 144, 200],
  [320 * 180, 300],
  [480 * 270, 400],
  [640 * 360, 600],
  [800 * 450, 800],
  [960 * 540, 900],
  [1120 * 630, 1_000],
  [1280 * 720, 1_200],
  [1920 * 1080, 3_000],
]);
// Chromium aims an encoding that is not the top one at 75 % of its maxBitrate.
const LOWER_SHARE = 0.75;

/**
 * The rate for a picture of this size, in kbit/s.
 * @param {number} width
 * @param {number} height
 */
export function rateFor(width, height) {
  const row = LADDER.find(([pixels]) => pixels >= width * height * 0.99);
  return (row ?? LADDER[LADDER.length - 1])[1];
}

/**
 * The simulcast encodings of a camera of this size, large to small.
 * @param {number} width
 * @param {number} height
 * @returns {Layer[]}
 */
export function layersFor(width, height) {
  return RIDS.map((rid, step) => ({
    rid,
    width: Math.round(width / 2 ** step),
    height: Math.round(height / 2 ** step),
  })).filter((layer, step) => step === 0 || Math.min(layer.width, layer.height) >= SIDE_MIN);
}

/**
 * How many encodings Chromium sends of a source of this size where sizes are relative.
 * @param {number} width
 * @param {number} height
 */
export function survivingLayers(width, height) {
  const [long, short] = [Math.max(width, height), Math.min(width, height)];
  if (long >= 960 && short >= 540) return 3;
  return long >= 480 && short >= 270 ? 2 : 1;
}

/**
 * @param {Layer[]} layers
 * @returns {Encoding[]}
 */
function encodingsOf(layers) {
  return layers.map((layer, step) => ({
    rid: layer.rid,
    scalabilityMode: 'L1T1',
    scaleResolutionDownBy: 2 ** step,
    scaleResolutionDownTo: { maxWidth: layer.width, maxHeight: layer.height },
    maxBitrate: Math.round((rateFor(layer.width, layer.height) * 1_000) / (step === 0 ? 1 : LOWER_SHARE)),
  }));
}

/**
 * The picture size of a track.
 * @param {MediaStreamTrack} track
 */
function sizeOf(track) {
  const { width = 1280, height = 720 } = track.getSettings();
  return { width, height };
}

/** A track that this client publishes; it outlives PeerConnections. */
export class LocalTrack {
  /** The server's name for it, once it is published. @type {string | null} */
  id = null;
  /** What is sent, large to small; empty for a single encoding. @type {Layer[]} */
  layers = [];
  /** How it is carried, if not as the room has it, and what the server was told of that last. @type {Strategy | undefined} */
  strategy = undefined;
  /** @type {Strategy | undefined} */
  carried = undefined;

  /**
   * @param {Source} source
   * @param {MediaStreamTrack} mediaTrack
   * @param {boolean} muted
   */
  constructor(source, mediaTrack, muted) {
    this.source = source;
    /** @type {Kind} */
    this.kind = source === 'camera' || source === 'screen' ? 'video' : 'audio';
    this.mediaTrack = mediaTrack;
    this.muted = muted;
    mediaTrack.enabled = !muted;
  }
}

/** The sending sections of one PeerConnection. */
export class Publisher {
  #peer;
  #codec;
  #red;
  /** @type {Map<Source, Section>} */
  #sections = new Map();
  /** The tracks named in the offer under way. @type {LocalTrack[]} */
  #offered = [];

  /**
   * @param {RTCPeerConnection} peer
   * @param {VideoCodec} codec
   * @param {boolean} red
   */
  constructor(peer, codec, red) {
    this.#peer = peer;
    this.#codec = codec;
    this.#red = red;
  }

  /**
   * Sends a track from the next offer on.
   * @param {LocalTrack} local
   */
  add(local) {
    const { width, height } = sizeOf(local.mediaTrack);
    const layers = local.source === 'camera' ? layersFor(width, height) : [];
    const known = this.#sections.get(local.source);
    if (known) {
      known.local = local;
      known.demand = null; // it was for another track
      known.transceiver.direction = 'sendonly';
      void known.transceiver.sender.replaceTrack(local.mediaTrack);
      this.#resize(local);
      if (local.kind === 'video') this.#change(local, (parameters) => limit(known, parameters));
      this.applyMute(local);
      return;
    }
    const transceiver = this.#peer.addTransceiver(local.mediaTrack, {
      direction: 'sendonly',
      streams: [new MediaStream([local.mediaTrack])],
      sendEncodings: this.#encodings(local, layers),
    });
    const sound = this.#red ? 'red' : 'opus';
    sendable(transceiver, local.kind, local.kind === 'video' ? this.#codec : sound);
    const [tail, demand, limits] = [Promise.resolve(), null, new Map()];
    this.#sections.set(local.source, { local, transceiver, tail, demand, limits });
    local.layers = layers.slice(0, this.#knowsSizes(transceiver) ? layers.length : survivingLayers(width, height));
    if (layers.length === 1) local.layers = []; // it goes without a rid
    if (local.kind === 'video') {
      this.#change(local, (parameters) => Object.assign(parameters, { degradationPreference: 'maintain-resolution' }));
    }
  }

  /**
   * Stops sending a source from the next offer on; its section stays for later.
   * @param {Source} source
   */
  remove(source) {
    const section = this.#sections.get(source);
    if (!section) return;
    section.local = null;
    section.transceiver.direction = 'inactive';
    void section.transceiver.sender.replaceTrack(null);
  }

  /**
   * Sends another device's media in the place of the present one; says whether the server must hear of other sizes.
   * @param {LocalTrack} local
   */
  async replace(local) {
    const section = this.#sections.get(local.source);
    if (section?.local !== local) return false;
    const before = JSON.stringify(local.layers);
    await section.transceiver.sender.replaceTrack(local.mediaTrack);
    this.#resize(local);
    return JSON.stringify(local.layers) !== before;
  }

  /**
   * Brings the sender in line with the track's mute. A muted camera sends nothing, rather than black pictures.
   * @param {LocalTrack} local
   */
  applyMute(local) {
    local.mediaTrack.enabled = !local.muted;
    if (local.kind !== 'video') return;
    this.#change(local, (parameters) => {
      for (const encoding of parameters.encodings) encoding.active = !local.muted;
    });
  }

  /**
   * Has the encodings of a track take no more than the server demands: one change of the rates alone, which Chromium
   * carries out without a key frame. Of demands that wait for one another the newest is carried out. Says what holds
   * then; null if there is no such track, a newer demand came first, or the browser refused.
   * @param {Demand} demand
   * @returns {Promise<Applied | null>}
   */
  async meet(demand) {
    const section = [...this.#sections.values()].find(({ local }) => local?.id === demand.track);
    if (!section?.local) return null;
    const { demand: before } = section;
    if (before?.track === demand.track && before.epoch > demand.epoch) return null;
    section.demand = demand;
    const taken = await this.#change(section.local, (parameters) => limit(section, parameters));
    if (!taken || section.demand !== demand) return null;
    const layers = demand.layers.map(({ rid }) => {
      const { encodings } = section.transceiver.sender.getParameters();
      const own = section.limits.get(rid ?? '')?.own;
      const max_kbps = own === undefined ? null : Math.round((own * shareOf(encodings, rid ?? '')) / 1_000);
      return { rid, max_kbps };
    });
    return { track: demand.track, epoch: demand.epoch, layers };
  }

  /**
   * What the server is told of the sending sections; valid once the offer is the local description.
   * @returns {Publish[]}
   */
  publishes() {
    const sent = [...this.#sections.values()].filter((section) => section.local && section.transceiver.mid !== null);
    this.#offered = sent.map((section) => /** @type {LocalTrack} */ (section.local));
    for (const local of this.#offered) local.carried = local.strategy;
    return sent.map((section) => ({
      mid: /** @type {string} */ (section.transceiver.mid),
      source: /** @type {LocalTrack} */ (section.local).source,
      muted: /** @type {LocalTrack} */ (section.local).muted,
      layers: /** @type {LocalTrack} */ (section.local).layers,
      strategy: /** @type {LocalTrack} */ (section.local).strategy, // left out of the message if there is none
    }));
  }

  /**
   * The server took the offer and names its tracks, in the order of the offer; a muted camera stops only now, so that
   * the offer names every encoding as one to be sent.
   * @param {import('./types.js').TrackInfo[]} tracks
   */
  settle(tracks) {
    this.#offered.forEach((local, index) => {
      local.id = tracks[index]?.id ?? null;
      if (local.muted) this.applyMute(local);
    });
  }

  /** The tracks that the offer under way names for the first time. */
  fresh() {
    return this.#offered.filter((local) => local.id === null);
  }

  /**
   * The track that the section with this mid sends.
   * @param {string | null} mid
   */
  localAt(mid) {
    for (const { local, transceiver } of this.#sections.values()) if (transceiver.mid === mid) return local;
    return null;
  }

  /**
   * @param {LocalTrack} local
   * @param {Layer[]} layers
   * @returns {RTCRtpEncodingParameters[]}
   */
  #encodings(local, layers) {
    if (layers.length > 1) return encodingsOf(layers);
    if (local.kind === 'audio') return [{}];
    const { width, height } = sizeOf(local.mediaTrack);
    return [/** @type {Encoding} */ ({ maxBitrate: rateFor(width, height) * 1_000, scalabilityMode: 'L1T1' })];
  }

  /** @param {RTCRtpTransceiver} transceiver */
  #knowsSizes(transceiver) {
    const [first] = /** @type {Encoding[]} */ (transceiver.sender.getParameters().encodings);
    return first?.scaleResolutionDownTo !== undefined;
  }

  /**
   * Has the encodings follow the size of the track.
   * @param {LocalTrack} local
   */
  #resize(local) {
    const section = this.#sections.get(local.source);
    if (!section || local.source !== 'camera') return;
    const { width, height } = sizeOf(local.mediaTrack);
    const count = section.transceiver.sender.getParameters().encodings.length;
    const layers = layersFor(width, height).slice(0, count);
    local.layers = layers.slice(0, this.#knowsSizes(section.transceiver) ? count : survivingLayers(width, height));
    if (count === 1) local.layers = [];
    this.#change(local, (parameters) => {
      encodingsOf(layers).forEach((wanted, step) => {
        if (parameters.encodings[step]) Object.assign(parameters.encodings[step], wanted);
      });
      section.limits.clear(); // the application allows what fits the new size
      limit(section, parameters);
    });
  }

  /**
   * Changes the sender's parameters, one change after another: `setParameters` refuses what overlaps. Says whether the
   * browser took it.
   * @param {LocalTrack} local
   * @param {(parameters: RTCRtpSendParameters) => void} edit
   * @returns {Promise<boolean>}
   */
  #change(local, edit) {
    const section = this.#sections.get(local.source);
    if (!section) return Promise.resolve(false);
    const change = section.tail.then(async () => {
      const parameters = section.transceiver.sender.getParameters();
      if (parameters.encodings.length === 0) return false;
      edit(parameters);
      try {
        await section.transceiver.sender.setParameters(parameters);
        return true;
      } catch (error) {
        console.warn('lianmai: sender parameters not taken', error);
        return false;
      }
    });
    section.tail = change;
    return change;
  }
}

/**
 * What an encoder makes of its `maxBitrate`.
 * @param {RTCRtpEncodingParameters[]} encodings
 * @param {string} rid
 */
function shareOf(encodings, rid) {
  const top = encodings.find(({ active }) => active !== false);
  return !top || (top.rid ?? '') === rid ? 1 : LOWER_SHARE;
}

/**
 * Has encodings take no more than the section's demand says, and never more than the application allows: whatever it has
 * set since the last time counts as its word.
 * @param {Section} section
 * @param {RTCRtpSendParameters} parameters
 */
function limit({ demand, limits }, { encodings }) {
  for (const encoding of encodings) {
    const rid = encoding.rid ?? '';
    const before = limits.get(rid);
    const own = before?.set.includes(encoding.maxBitrate) ? before.own : encoding.maxBitrate;
    const wanted = demand?.layers.find((layer) => (layer.rid ?? '') === rid)?.max_kbps ?? Infinity;
    const most = Math.min(own ?? Infinity, Math.round((wanted * 1_000) / shareOf(encodings, rid)));
    limits.set(rid, { own, set: [encoding.maxBitrate, most === Infinity ? undefined : most] });
    if (most === Infinity) delete encoding.maxBitrate;
    else encoding.maxBitrate = most;
  }
}
