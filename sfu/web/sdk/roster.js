/**
 * Who is in the room and what they publish, as the server last said. Says what changed, also when a whole new state
 * replaces the old one after a reconnection.
 */

/** @typedef {import('./types.js').ParticipantInfo} ParticipantInfo */
/** @typedef {import('./types.js').TrackInfo} TrackInfo */
/** @typedef {import('./types.js').RoomEvents} RoomEvents */
/** @typedef {<K extends keyof RoomEvents>(name: K, detail: RoomEvents[K]) => void} Emit */

/** A track that somebody else publishes. */
export class RemoteTrack {
  /** The media, while the track is in a slot. @type {MediaStreamTrack | null} */
  mediaTrack = null;
  /** The encoding that the server forwards, if there are several. @type {string | null} */
  rid = null;

  /**
   * @param {TrackInfo} info
   * @param {RemoteParticipant} participant
   */
  constructor(info, participant) {
    this.id = info.id;
    this.kind = info.kind;
    this.source = info.source;
    this.muted = info.muted;
    this.layers = info.layers;
    this.participant = participant;
  }
}

/** Somebody else in the room. */
export class RemoteParticipant {
  /** By track id, in the order of publishing. @type {Map<string, RemoteTrack>} */
  tracks = new Map();

  /** @param {ParticipantInfo} info */
  constructor(info) {
    this.id = info.id;
    this.identity = info.identity;
    this.name = info.name || info.identity;
  }

  /**
   * Their track of a source.
   * @param {import('./types.js').Source} source
   */
  track(source) {
    for (const track of this.tracks.values()) if (track.source === source) return track;
    return null;
  }
}

/** Everybody else in the room. */
export class Roster {
  /** By participant id, in the order of joining. @type {Map<string, RemoteParticipant>} */
  participants = new Map();
  #emit;

  /** @param {Emit} emit */
  constructor(emit) {
    this.#emit = emit;
  }

  /**
   * The track of this id, whoever publishes it.
   * @param {string} id
   */
  track(id) {
    for (const participant of this.participants.values()) {
      const track = participant.tracks.get(id);
      if (track) return track;
    }
    return null;
  }

  /**
   * Takes a whole new state; who stayed stays the same object.
   * @param {ParticipantInfo[]} infos
   */
  replace(infos) {
    const here = new Set(infos.map((info) => info.id));
    for (const id of [...this.participants.keys()]) if (!here.has(id)) this.leave(id, 'connection_lost');
    for (const info of infos) {
      const known = this.participants.get(info.id);
      if (!known) {
        this.join(info);
        continue;
      }
      const published = new Set(info.tracks.map((track) => track.id));
      for (const id of [...known.tracks.keys()]) if (!published.has(id)) this.unpublish(info.id, id);
      for (const track of info.tracks) this.publish(info.id, track);
    }
  }

  /** @param {ParticipantInfo} info */
  join(info) {
    this.leave(info.id, 'replaced');
    const participant = new RemoteParticipant(info);
    this.participants.set(info.id, participant);
    this.#emit('participantjoined', { participant });
    for (const track of info.tracks) this.publish(info.id, track);
  }

  /**
   * @param {string} id
   * @param {import('./types.js').LeaveReason} reason
   */
  leave(id, reason) {
    const participant = this.participants.get(id);
    if (!participant) return;
    for (const track of [...participant.tracks.keys()]) this.unpublish(id, track);
    this.participants.delete(id);
    this.#emit('participantleft', { participant, reason });
  }

  /**
   * @param {string} id the participant
   * @param {TrackInfo} info
   */
  publish(id, info) {
    const participant = this.participants.get(id);
    if (!participant) return;
    const known = participant.tracks.get(info.id);
    if (known) {
      known.layers = info.layers;
      this.mute(id, info.id, info.muted);
      return;
    }
    const track = new RemoteTrack(info, participant);
    participant.tracks.set(info.id, track);
    this.#emit('trackpublished', { participant, track });
  }

  /**
   * @param {string} id the participant
   * @param {string} trackId
   */
  unpublish(id, trackId) {
    const participant = this.participants.get(id);
    const track = participant?.tracks.get(trackId);
    if (!participant || !track) return;
    if (track.mediaTrack) {
      track.mediaTrack = null;
      this.#emit('trackdetached', { participant, track });
    }
    participant.tracks.delete(trackId);
    this.#emit('trackunpublished', { participant, track });
  }

  /**
   * @param {string} id the participant
   * @param {string} trackId
   * @param {boolean} muted
   */
  mute(id, trackId, muted) {
    const participant = this.participants.get(id);
    const track = participant?.tracks.get(trackId);
    if (!participant || !track || track.muted === muted) return;
    track.muted = muted;
    this.#emit('trackmuted', { participant, track, muted });
  }
}
