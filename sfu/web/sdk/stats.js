/**
 * What is received and sent of each track, from `RTCPeerConnection.getStats`: rates and shares over the time since
 * the sample before, totals where the name says so.
 */

/** @typedef {import('./types.js').RoomStats} RoomStats */
/** @typedef {import('./types.js').TrackStats} TrackStats */
/** @typedef {import('./types.js').SendStats} SendStats */

/**
 * The members read here; lib.dom lacks some.
 * @typedef {{id: string, type: string, timestamp: number, kind?: string, mid?: string, rid?: string, codecId?: string,
 *   mimeType?: string, remoteId?: string, nominated?: boolean, state?: string, selectedCandidatePairId?: string,
 *   availableOutgoingBitrate?: number, currentRoundTripTime?: number, roundTripTime?: number, fractionLost?: number,
 *   bytesReceived?: number, packetsReceived?: number, packetsLost?: number, framesDecoded?: number,
 *   framesPerSecond?: number, frameWidth?: number, frameHeight?: number, jitter?: number, freezeCount?: number,
 *   totalFreezesDuration?: number, bytesSent?: number, framesSent?: number, targetBitrate?: number,
 *   qualityLimitationReason?: string, localId?: string, fecPacketsReceived?: number,
 *   retransmittedPacketsReceived?: number}} Report
 */

const SAMPLE_EVERY_MS = 200; // several askers within that time get the same sample: rates over less are noise

/** Samples one PeerConnection. */
export class StatsSampler {
  #peer;
  #slots;
  #publisher;
  /** @type {Map<string, Report>} */
  #before = new Map();
  /** @type {Promise<RoomStats> | null} */
  #last = null;
  #lastAt = -Infinity;

  /**
   * @param {RTCPeerConnection} peer
   * @param {import('./slots.js').Slots} slots
   * @param {import('./publisher.js').Publisher} publisher
   */
  constructor(peer, slots, publisher) {
    this.#peer = peer;
    this.#slots = slots;
    this.#publisher = publisher;
  }

  /**
   * The present sample.
   * @param {number | null} signalRttMs
   * @returns {Promise<RoomStats>}
   */
  sample(signalRttMs) {
    const now = performance.now();
    if (!this.#last || now - this.#lastAt >= SAMPLE_EVERY_MS) {
      this.#lastAt = now;
      this.#last = this.#take(now, signalRttMs);
    }
    return this.#last;
  }

  /**
   * @param {number} atMs
   * @param {number | null} signalRttMs
   * @returns {Promise<RoomStats>}
   */
  async #take(atMs, signalRttMs) {
    /** @type {Map<string, Report>} */
    const reports = new Map();
    (await this.#peer.getStats()).forEach((report, id) => reports.set(id, report));
    const pair = activePair(reports);
    const rttMs = milliseconds(pair?.currentRoundTripTime);
    /** @type {TrackStats[]} */
    const received = [];
    /** @type {SendStats[]} */
    const sent = [];
    for (const report of reports.values()) {
      if (report.type === 'inbound-rtp') {
        const stats = this.#received(report, reports, rttMs);
        if (stats) received.push(stats);
      } else if (report.type === 'outbound-rtp') {
        const stats = this.#sent(report, reports);
        if (stats) sent.push(stats);
      }
    }
    this.#before = reports;
    const availableKbps = pair?.availableOutgoingBitrate === undefined ? null : pair.availableOutgoingBitrate / 1_000;
    return { atMs, received, sent, rttMs, signalRttMs, availableKbps };
  }

  /**
   * @param {Report} report
   * @param {Map<string, Report>} reports
   * @param {number | null} rttMs
   * @returns {TrackStats | null}
   */
  #received(report, reports, rttMs) {
    const track = report.mid === undefined ? null : this.#slots.trackAt(report.mid);
    if (!track) return null;
    const rates = this.#rates(report);
    const got = rates.of('packetsReceived');
    const lost = Math.max(0, rates.of('packetsLost'));
    const repair = rates.of('fecPacketsReceived') + rates.of('retransmittedPacketsReceived');
    return {
      track: track.id,
      participant: track.participant.id,
      kind: track.kind,
      source: track.source,
      codec: codecOf(report, reports),
      layer: track.rid,
      width: report.frameWidth ?? 0,
      height: report.frameHeight ?? 0,
      fps: Math.round(rates.perSecond('framesDecoded')),
      kbps: (rates.perSecond('bytesReceived') * 8) / 1_000,
      loss: got + lost > 0 ? lost / (got + lost) : 0,
      repair: got > repair ? repair / (got - repair) : 0,
      rttMs,
      jitterMs: milliseconds(report.jitter) ?? 0,
      framesDecoded: report.framesDecoded ?? 0,
      freezes: report.freezeCount ?? 0,
      freezeMs: milliseconds(report.totalFreezesDuration) ?? 0,
    };
  }

  /**
   * @param {Report} report
   * @param {Map<string, Report>} reports
   * @returns {SendStats | null}
   */
  #sent(report, reports) {
    const local = this.#publisher.localAt(report.mid ?? null);
    if (!local) return null;
    const rates = this.#rates(report);
    const remote = report.remoteId === undefined ? undefined : reports.get(report.remoteId);
    return {
      track: local.id,
      kind: local.kind,
      source: local.source,
      codec: codecOf(report, reports),
      layer: report.rid ?? null,
      width: report.frameWidth ?? 0,
      height: report.frameHeight ?? 0,
      fps: Math.round(rates.perSecond('framesSent')),
      kbps: (rates.perSecond('bytesSent') * 8) / 1_000,
      targetKbps: (report.targetBitrate ?? 0) / 1_000,
      loss: remote?.fractionLost ?? 0,
      rttMs: milliseconds(remote?.roundTripTime),
      framesSent: report.framesSent ?? 0,
      limitedBy: report.qualityLimitationReason ?? 'none',
    };
  }

  /** @param {Report} report */
  #rates(report) {
    const before = this.#before.get(report.id);
    const seconds = before ? (report.timestamp - before.timestamp) / 1_000 : 0;
    /** @typedef {'bytesReceived' | 'packetsReceived' | 'packetsLost' | 'framesDecoded' | 'bytesSent' | 'framesSent' |
     *   'fecPacketsReceived' | 'retransmittedPacketsReceived'} Counter */
    const of = (/** @type {Counter} */ name) => (before ? (report[name] ?? 0) - (before[name] ?? 0) : 0);
    return {
      of,
      perSecond: (/** @type {Counter} */ name) => (seconds > 0 ? Math.max(0, of(name)) / seconds : 0),
    };
  }
}

/** @param {Map<string, Report>} reports */
function activePair(reports) {
  for (const report of reports.values()) {
    if (report.type === 'transport' && report.selectedCandidatePairId) return reports.get(report.selectedCandidatePairId);
  }
  for (const report of reports.values()) {
    if (report.type === 'candidate-pair' && report.nominated && report.state === 'succeeded') return report;
  }
  return undefined;
}

/**
 * @param {Report} report
 * @param {Map<string, Report>} reports
 */
function codecOf(report, reports) {
  const mime = report.codecId === undefined ? undefined : reports.get(report.codecId)?.mimeType;
  return mime?.split('/')[1] ?? '';
}

/** @param {number | undefined} seconds */
function milliseconds(seconds) {
  return seconds === undefined ? null : seconds * 1_000;
}
