/**
 * The types of the SDK and of the signaling protocol, for editors and `tsc --checkJs`. No code.
 *
 * The protocol types mirror `proto/src/signal.rs`, which is the authority.
 */

/** @typedef {'camera' | 'microphone' | 'screen' | 'screen_audio'} Source */
/** @typedef {'audio' | 'video'} Kind */
/** @typedef {'vp8' | 'h264' | 'vp9' | 'av1'} VideoCodec */
/** @typedef {'left' | 'connection_lost' | 'replaced' | 'server_closing'} LeaveReason */
/** @typedef {'left' | 'replaced' | 'session_over' | 'media_lost' | 'refused' | 'server_closing'} CloseCode */
/** @typedef {'bad_message' | 'bad_state' | 'unsupported_version' | 'bad_offer' | 'unknown_track' | 'not_allowed' | 'limit_reached'} ErrorCode */

/** @typedef {{rid: string, width: number, height: number}} Layer one simulcast encoding, in pixels */
/** @typedef {'game' | 'chorus' | 'pk' | 'chat' | 'watch'} Scene what a track is for */
/** @typedef {'high' | 'normal' | 'low'} Priority which of several pictures leaves first */
/** @typedef {'least' | 'balanced' | 'smooth'} Delay how long pictures may wait: 80, 200 or 800 ms */
/** @typedef {'retransmission' | 'forward' | 'redundant_audio'} RepairScheme */

/**
 * How a track is carried; what is left out follows from the scene, and the scene from the track's publisher or the room.
 * @typedef {object} Strategy
 * @property {Scene} [scene]
 * @property {number} [deadline_ms] how long after the first attempt a lost packet is still of use, 20 to 2000
 * @property {Delay} [delay]
 * @property {RepairScheme[]} [repair] what may be done about losses; an empty list is nothing
 * @property {Priority} [priority]
 */

/** @typedef {{mid: string, source: Source, muted: boolean, layers: Layer[], strategy?: Strategy}} Publish */
/** @typedef {{id: string, kind: Kind, source: Source, muted: boolean, layers: Layer[]}} TrackInfo */
/** @typedef {{id: string, identity: string, name: string, tracks: TrackInfo[]}} ParticipantInfo */
/** @typedef {{name: string, participants: ParticipantInfo[]}} RoomInfo */
/** @typedef {{mid: string, track: string, participant: string}} SlotBinding */
/** @typedef {{rid?: string, max_kbps: number | null, active: boolean}} DemandedLayer */
/** @typedef {{epoch: number, track: string, layers: DemandedLayer[]}} Demand what the encodings of an own track shall take */
/** @typedef {{track: string, epoch: number, layers: {rid?: string, max_kbps: number | null}[]}} Applied */
/** @typedef {{track: string, width: number, height: number, strategy?: Strategy}} Tile one visible picture, in device pixels */

/**
 * @typedef {object} Joined
 * @property {number} protocol
 * @property {string} server
 * @property {string} session
 * @property {string} participant
 * @property {RoomInfo} room
 * @property {string} sdp
 * @property {TrackInfo[]} tracks
 * @property {SlotBinding[]} slots
 * @property {number} ping_interval_ms
 * @property {number} resume_within_ms
 */

/**
 * What a client sends; {@link Signal} adds the `id`.
 * @typedef {{type: 'join', protocol: number, client: string, sdp: string, tracks: Publish[]}
 *   | {type: 'offer', sdp: string, tracks: Publish[]}
 *   | {type: 'layout', tiles: Tile[]}
 *   | {type: 'mute', track: string, muted: boolean}
 *   | {type: 'carry', track: string, strategy: Strategy}
 *   | ({type: 'applied'} & Applied)
 *   | {type: 'leave'}
 *   | {type: 'ping', sent_ms: number}} ClientMessage
 */

/**
 * What the server sends.
 * @typedef {{re?: number} & (
 *   ({type: 'joined'} & Joined)
 *   | {type: 'resumed', room: RoomInfo, tracks: TrackInfo[], slots: SlotBinding[]}
 *   | {type: 'answer', sdp: string, tracks: TrackInfo[]}
 *   | {type: 'participant_joined', participant: ParticipantInfo}
 *   | {type: 'participant_left', participant: string, reason: LeaveReason}
 *   | {type: 'track_published', participant: string, track: TrackInfo}
 *   | {type: 'track_unpublished', participant: string, track: string}
 *   | {type: 'track_muted', participant: string, track: string, muted: boolean}
 *   | {type: 'slots', slots: SlotBinding[]}
 *   | {type: 'slot_layer', mid: string, track: string, rid?: string}
 *   | ({type: 'demand'} & Demand)
 *   | {type: 'slots_needed', audio: number, video: number}
 *   | {type: 'ice_restart_needed'}
 *   | {type: 'pong', sent_ms: number}
 *   | {type: 'error', code: ErrorCode, reason: string}
 *   | {type: 'closed', code: CloseCode, reason: string}
 * )} Notice
 */

/**
 * @typedef {object} RoomOptions
 * @property {string} [url] the server, such as `https://live.example`; the page's own origin if left out
 * @property {string} [token] the access token (a JWT)
 * @property {() => string | Promise<string>} [getToken] asked for a token at every connection; rather than `token`,
 *   so that a session outlives the token it began with. An error with `final: true` ends the room, others are retried
 * @property {{audio: number, video: number}} [slots] how many tracks can be received at once; 8 of each by default, 32 at most
 * @property {VideoCodec} [codec] the codec to send pictures with, `vp8` by default
 * @property {boolean} [dtx] whether silence is not sent (Opus DTX); true by default, false for music
 * @property {boolean} [red] whether each packet of sound carries the one before it to the server, too (RFC 2198); false by
 *   default, for it doubles what sound takes all the time. It is for uplinks that lose packets: towards listeners the
 *   server repeats sound by itself where losses make it worth while
 * @property {string} [client] the application's name and version, for the server's logs
 */

/** @typedef {{width?: number, height?: number, fps?: number, deviceId?: string}} CameraConstraints */

/**
 * @typedef {object} JoinOptions
 * @property {MediaStreamTrack | CameraConstraints | boolean | null} [camera] a track of the application's, or what to
 *   open (`true` means 1280x720 at 30); not published if null or left out
 * @property {MediaStreamTrack | boolean | null} [microphone] the same for the microphone
 * @property {Partial<Record<Source, boolean>>} [muted] the sources that start muted
 * @property {Partial<Record<Source, Strategy>>} [strategy] how sources are carried, where not as the room has it
 */

/** @typedef {'new' | 'connecting' | 'connected' | 'reconnecting' | 'closed'} RoomState */

/**
 * Why the room is not connected: a {@link CloseCode} or {@link ErrorCode} of the server's, or
 * `unauthorized` (the token is refused), `unreachable` (no server answers), `signal_lost` (the WebSocket broke; media
 * may still flow), `media_silent` (no path for media), `offline` (the browser has no network), `token` (`getToken`
 * failed), `failed` (this browser could not do what was asked).
 * @typedef {CloseCode | ErrorCode | 'unauthorized' | 'unreachable' | 'signal_lost' | 'media_silent' | 'offline' | 'token' | 'failed'} StateCode
 */

/**
 * @typedef {object} StateDetail
 * @property {RoomState} state
 * @property {StateCode} [code] why, for programs
 * @property {string} [reason] why, for people
 * @property {number} [retryMs] when the next attempt begins, from now
 */

/** @typedef {import('./roster.js').RemoteParticipant} RemoteParticipant */
/** @typedef {import('./roster.js').RemoteTrack} RemoteTrack */
/** @typedef {import('./publisher.js').LocalTrack} LocalTrack */

/**
 * The events of a {@link Room} and the `detail` of each.
 * @typedef {object} RoomEvents
 * @property {StateDetail} state
 * @property {{participant: RemoteParticipant}} participantjoined
 * @property {{participant: RemoteParticipant, reason: LeaveReason}} participantleft
 * @property {{participant: RemoteParticipant, track: RemoteTrack}} trackpublished
 * @property {{participant: RemoteParticipant, track: RemoteTrack}} trackunpublished
 * @property {{participant: RemoteParticipant, track: RemoteTrack, muted: boolean}} trackmuted
 * @property {{participant: RemoteParticipant, track: RemoteTrack, mediaTrack: MediaStreamTrack}} trackattached
 * @property {{participant: RemoteParticipant, track: RemoteTrack}} trackdetached
 * @property {{participant: RemoteParticipant, track: RemoteTrack, rid: string | null}} layer
 * @property {{track: LocalTrack, muted: boolean}} localmuted
 * @property {{track: LocalTrack}} localended the device went away; the track is muted
 * @property {{refusals: import('./media.js').Refusal[]}} devicerefused `join` could not open a device and went on without
 * @property {{code: StateCode, reason: string}} error a request failed and everything is as before it
 */

/**
 * What is received of one track, over the time since the sample before.
 * @typedef {object} TrackStats
 * @property {string} track
 * @property {string} participant
 * @property {Kind} kind
 * @property {Source} source
 * @property {string} codec such as `VP8`, empty while unknown
 * @property {string | null} layer the rid that the server forwards, null where there is one encoding only
 * @property {number} width
 * @property {number} height
 * @property {number} fps
 * @property {number} kbps
 * @property {number} loss share of packets lost on the way from the server, repaired or not, 0 to 1
 * @property {number} repair packets that repair others, sent before or after they were asked for, for each one that does not
 * @property {number | null} rttMs round trip to the server
 * @property {number} jitterMs
 * @property {number} framesDecoded total
 * @property {number} freezes total
 * @property {number} freezeMs total
 */

/**
 * What is sent of one track in one encoding.
 * @typedef {object} SendStats
 * @property {string | null} track the server's name for it
 * @property {Kind} kind
 * @property {Source} source
 * @property {string} codec
 * @property {string | null} layer the rid, null where there is one encoding only
 * @property {number} width
 * @property {number} height
 * @property {number} fps
 * @property {number} kbps
 * @property {number} targetKbps
 * @property {number} loss share of packets that the server missed, 0 to 1
 * @property {number | null} rttMs
 * @property {number} framesSent total
 * @property {string} limitedBy `none`, `cpu`, `bandwidth` or `other`
 */

/**
 * @typedef {object} RoomStats
 * @property {number} atMs `performance.now()` of the sample
 * @property {TrackStats[]} received
 * @property {SendStats[]} sent
 * @property {number | null} rttMs round trip on the media path
 * @property {number | null} signalRttMs round trip over the WebSocket
 * @property {number | null} availableKbps the browser's estimate of what it can send
 */

/**
 * What the server says of this client. It mirrors `sfu/src/worker/report.rs`, which is the authority and explains every
 * field; counters run from the beginning of what they count.
 * @typedef {object} ServerStats
 * @property {number} at_ms since the server's start
 * @property {ServerConnection} connection
 * @property {ServerStream[]} streams what the server has got from this client, one for each encoding
 * @property {ServerLeg[]} legs what the server sends to this client, one for each slot with a track
 * @property {{index: number, residence: {datagrams: number, p50_us: number | null, p99_us: number | null}}} worker
 */

/**
 * @typedef {object} ServerConnection
 * @property {boolean} connected
 * @property {'udp'} protocol
 * @property {string} [srtp_profile]
 * @property {number} [rtt_ms]
 * @property {number} packets_received
 * @property {number} bytes_received
 * @property {number} packets_sent
 * @property {number} bytes_sent
 * @property {ServerSending} [sending]
 */

/**
 * @typedef {object} ServerSending
 * @property {number} target_kbps
 * @property {string} estimator_state
 * @property {string} path_class
 * @property {number} queue_ms
 * @property {number} packets_told
 * @property {number} packets_lost_path
 * @property {number} packets_lost_congestion
 * @property {number} loss_path
 * @property {number} loss_congestion
 * @property {number} loss_burst
 * @property {number} redundancy
 */

/**
 * @typedef {object} ServerStream
 * @property {string} [track]
 * @property {string} [rid]
 * @property {Kind} [kind]
 * @property {Source} [source]
 * @property {string} [codec]
 * @property {boolean} active
 * @property {number} [width]
 * @property {number} [height]
 * @property {number} kbps
 * @property {number} frames_per_second
 * @property {number} frames_received
 * @property {number} key_frames_received
 * @property {number} packets_received
 * @property {number} bytes_received
 * @property {number} packets_lost
 * @property {number} packets_retransmitted
 * @property {number} packets_restored
 * @property {number} packets_given_up
 * @property {number} nacked_packets
 * @property {number} pli_count
 * @property {number} jitter_ms
 * @property {number} recovery_ms
 */

/** @typedef {'none' | 'disconnected' | 'muted' | 'hidden' | 'bandwidth' | 'key_frame' | 'publisher'} LimitedBy why less is sent than suits */

/**
 * @typedef {object} ServerLeg
 * @property {string} mid
 * @property {string} participant
 * @property {string} track
 * @property {Kind} kind
 * @property {boolean} active
 * @property {string} [rid]
 * @property {string} [target_rid]
 * @property {string} [wanted_rid]
 * @property {LimitedBy} limited_by
 * @property {number} kbps
 * @property {number} packets_sent
 * @property {number} bytes_sent
 * @property {number} retransmitted_packets_sent
 * @property {number} retransmitted_bytes_sent
 * @property {number} fec_packets_sent
 * @property {number} fec_bytes_sent
 * @property {number} nacked_packets
 * @property {number} key_frames_asked
 * @property {number} playout_delay_ms
 */

export {};
