/**
 * Which codecs a media section offers, in which order, and with which header extensions. An offer names only what the server can use: with sixteen
 * slots, every codec left out makes it 16 × 10 lines shorter, and parsing it is part of the time to the first picture.
 */

/** @typedef {import('./types.js').VideoCodec} VideoCodec */
/** @typedef {import('./types.js').Kind} Kind */
/** What sound is sent as: RED is Opus, each packet with the one before it. @typedef {'opus' | 'red'} AudioCodec */

/** The video codecs in the order of preference if the application names none. @type {VideoCodec[]} */
const VIDEO_CODECS = ['vp8', 'h264', 'vp9', 'av1'];

/**
 * Whether a codec variant is one that the server forwards between browsers: VP9 and AV1 in profile 0, and H264 with
 * packetization mode 1 in the constrained baseline, main and high profiles.
 * @param {RTCRtpCodec} codec
 */
function usable(codec) {
  const format = codec.sdpFmtpLine ?? '';
  switch (codec.mimeType.toLowerCase()) {
    case 'video/vp8':
    case 'video/rtx':
    case 'audio/opus':
    case 'audio/red':
      return true;
    case 'video/vp9':
      return /(^|;)profile-id=0(;|$)/.test(format) || !format.includes('profile-id');
    case 'video/av1':
      return /(^|;)profile=0(;|$)/.test(format) || !format.includes('profile=');
    case 'video/h264':
      return format.includes('packetization-mode=1') && /profile-level-id=(42|4d|64)/i.test(format);
    default:
      return false;
  }
}

/**
 * Whether it is repair packets by XOR, which the server sends where losses make it worth while, and takes. Browsers take
 * them; sending them takes a field trial in Chromium (WebRTC-FlexFEC-03).
 * @param {RTCRtpCodec} codec
 */
function repairs(codec) {
  return codec.mimeType.toLowerCase() === 'video/flexfec-03';
}

/**
 * The place of a codec in an offer; lower is earlier.
 * @param {RTCRtpCodec} codec
 * @param {VideoCodec | AudioCodec} first
 */
function rank(codec, first) {
  const name = codec.mimeType.toLowerCase().split('/')[1];
  if (name === 'red' && first === 'red') return -10;
  if (name === 'rtx' || name === 'red' || name === 'flexfec-03') return 100;
  if (name === 'opus') return 0;
  // Constrained baseline first among the H264 profiles: every decoder has it.
  const profile = name === 'h264' && !/profile-level-id=42e0/i.test(codec.sdpFmtpLine ?? '') ? 0.5 : 0;
  return (name === first ? -10 : VIDEO_CODECS.indexOf(/** @type {VideoCodec} */ (name))) + profile;
}

/** What the server reads in the headers of packets it receives: the ends of the extensions' URIs. */
const EXTENSIONS_SENT = ['sdes:mid', 'rtp-stream-id', 'transport-wide-cc-extensions-01', 'audio-level', 'video-orientation'];

/** What tells the server of AV1's temporal layers; other codecs' payloads tell of them themselves. */
const DESCRIPTOR = '#dependency-descriptor-rtp-header-extension';

/**
 * lib.dom does not know these members yet.
 * @typedef {{uri: string, direction: RTCRtpTransceiverDirection | 'stopped'}} HeaderExtension
 * @typedef {RTCRtpTransceiver & {getHeaderExtensionsToNegotiate?: () => HeaderExtension[],
 *   setHeaderExtensionsToNegotiate?: (extensions: HeaderExtension[]) => void}} ExtensionTransceiver
 */

/**
 * Has a sending section prefer this codec, and offer the header extensions that sending needs. Browsers send the first
 * one that the server takes, and it takes them all.
 * @param {RTCRtpTransceiver} transceiver
 * @param {Kind} kind
 * @param {VideoCodec | AudioCodec} codec
 */
export function sendable(transceiver, kind, codec) {
  prefer(transceiver, kind, codec, (codec) => usable(codec) || (repairs(codec) && canSend('flexfec-03')));
  extend(transceiver, codec === 'av1' ? [...EXTENSIONS_SENT, DESCRIPTOR] : EXTENSIONS_SENT);
}

/**
 * Has a receiving section offer every codec that somebody may send, and RED and repair packets, which the server makes
 * where losses make it worth while.
 * @param {RTCRtpTransceiver} transceiver
 * @param {Kind} kind
 */
export function receivable(transceiver, kind) {
  prefer(transceiver, kind, 'vp8', (codec) => usable(codec) || repairs(codec));
}

/**
 * Whether this browser can send pictures in this codec, or repair them with it.
 * @param {VideoCodec | 'flexfec-03'} codec
 */
export function canSend(codec) {
  const codecs = RTCRtpSender.getCapabilities('video')?.codecs ?? [];
  return codecs.some((one) => one.mimeType.toLowerCase() === `video/${codec}`);
}

/**
 * @param {RTCRtpTransceiver} transceiver
 * @param {Kind} kind
 * @param {VideoCodec | AudioCodec} first
 * @param {(codec: RTCRtpCodec) => boolean} wanted
 */
function prefer(transceiver, kind, first, wanted) {
  const all = RTCRtpReceiver.getCapabilities(kind)?.codecs ?? [];
  const codecs = all.filter(wanted);
  codecs.sort((a, b) => rank(a, first) - rank(b, first)); // stable: the browser's own order among equals
  if (codecs.length === 0) return;
  try {
    transceiver.setCodecPreferences(codecs);
  } catch (error) {
    console.warn('lianmai: codec preferences not taken', error); // the browser's own order works too
  }
}

/**
 * Offers the extensions that sending needs. Chromium gives a new section only those that the sections of its kind
 * negotiated before it, and slots, which just receive, negotiate neither `rid` nor transport-wide feedback: without
 * this, a camera turned on in a room that was joined without one could not be offered.
 * @param {ExtensionTransceiver} transceiver
 * @param {string[]} wanted
 */
function extend(transceiver, wanted) {
  const extensions = transceiver.getHeaderExtensionsToNegotiate?.() ?? [];
  for (const extension of extensions) {
    const isSent = wanted.some((end) => extension.uri.endsWith(end));
    if (isSent && extension.direction === 'stopped') extension.direction = 'sendrecv';
  }
  try {
    transceiver.setHeaderExtensionsToNegotiate?.(extensions);
  } catch (error) {
    console.warn('lianmai: header extensions not taken', error);
  }
}

/**
 * A description in which the other side asks for Opus DTX (RFC 7587 §6.1): the encoder here heeds the `fmtp` of the
 * remote description.
 * @param {string} sdp
 */
export function withDtx(sdp) {
  const types = new Set([...sdp.matchAll(/^a=rtpmap:(\d+) opus\//gim)].map((match) => match[1]));
  return sdp.replace(/^a=fmtp:(\d+) (.*)$/gm, (line, type, /** @type {string} */ format) =>
    types.has(type) && !format.includes('usedtx=') ? `a=fmtp:${type} ${format.trimEnd()};usedtx=1` : line,
  );
}
