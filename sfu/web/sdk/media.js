/**
 * Camera and microphone: opening them, and saying in clear words why that failed.
 */

/** @typedef {import('./types.js').CameraConstraints} CameraConstraints */

/**
 * @typedef {'insecure' | 'denied' | 'missing' | 'busy' | 'failed'} RefusalCode
 * @typedef {{device: 'camera' | 'microphone', code: RefusalCode, detail: string, reason: string}} Refusal
 * @typedef {{camera: MediaStreamTrack | null, microphone: MediaStreamTrack | null, refusals: Refusal[]}} Captured
 */

/**
 * Opens what is wanted; whatever fails is null and has its refusal. Asks once for both, so that the browser shows one
 * question, and for each alone if that fails: a missing camera does not cost the microphone.
 * @param {{camera?: CameraConstraints | boolean | null, microphone?: boolean | null, microphoneId?: string}} wanted
 * @returns {Promise<Captured>}
 */
export async function capture(wanted) {
  const video = wanted.camera ? cameraConstraints(wanted.camera === true ? {} : wanted.camera) : false;
  const audio = wanted.microphone ? microphoneConstraints(wanted.microphoneId) : false;
  if (!video && !audio) return { camera: null, microphone: null, refusals: [] };
  const both = await open({ video, audio });
  if (both instanceof MediaStream) return captured(both, []);
  if (!video || !audio || both.code === 'insecure') {
    const devices = /** @type {const} */ (['camera', 'microphone']).filter((one) => (one === 'camera' ? video : audio));
    return { camera: null, microphone: null, refusals: devices.map((device) => refusal(device, both)) };
  }
  const camera = await open({ video });
  const microphone = await open({ audio });
  const tracks = [camera, microphone].flatMap((one) => (one instanceof MediaStream ? one.getTracks() : []));
  const refusals = [];
  if (!(camera instanceof MediaStream)) refusals.push(refusal('camera', camera));
  if (!(microphone instanceof MediaStream)) refusals.push(refusal('microphone', microphone));
  return captured(new MediaStream(tracks), refusals);
}

/**
 * The tracks for joining a room: the application's own, or opened here; says which were opened.
 * @param {import('./types.js').JoinOptions} wanted
 * @returns {Promise<Captured & {opened: MediaStreamTrack[]}>}
 */
export async function tracksFor({ camera = null, microphone = null }) {
  const own = {
    camera: camera instanceof MediaStreamTrack ? camera : null,
    microphone: microphone instanceof MediaStreamTrack ? microphone : null,
  };
  const opened = await capture({
    camera: camera instanceof MediaStreamTrack ? null : camera,
    microphone: microphone instanceof MediaStreamTrack ? null : microphone,
  });
  return {
    camera: own.camera ?? opened.camera,
    microphone: own.microphone ?? opened.microphone,
    refusals: opened.refusals,
    opened: [opened.camera, opened.microphone].filter((track) => track !== null),
  };
}

/**
 * @param {CameraConstraints} wanted
 * @returns {MediaTrackConstraints}
 */
function cameraConstraints({ width = 1280, height = 720, fps = 30, deviceId }) {
  return {
    width: { ideal: width },
    height: { ideal: height },
    frameRate: { ideal: fps },
    ...(deviceId ? { deviceId: { exact: deviceId } } : { facingMode: 'user' }),
  };
}

/**
 * @param {string} [deviceId]
 * @returns {MediaTrackConstraints}
 */
function microphoneConstraints(deviceId) {
  const processing = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
  return deviceId ? { ...processing, deviceId: { exact: deviceId } } : processing;
}

/**
 * @param {MediaStream} stream
 * @param {Refusal[]} refusals
 * @returns {Captured}
 */
function captured(stream, refusals) {
  return {
    camera: stream.getVideoTracks()[0] ?? null,
    microphone: stream.getAudioTracks()[0] ?? null,
    refusals,
  };
}

/**
 * @param {MediaStreamConstraints} constraints
 * @returns {Promise<MediaStream | {code: RefusalCode, detail: string}>}
 */
async function open(constraints) {
  if (!globalThis.isSecureContext || !navigator.mediaDevices) return { code: 'insecure', detail: '' };
  try {
    return await navigator.mediaDevices.getUserMedia(constraints);
  } catch (error) {
    const { name, message } = /** @type {DOMException} */ (error);
    return { code: codeOf(name), detail: message };
  }
}

/**
 * @param {string} name of the DOMException
 * @returns {RefusalCode}
 */
function codeOf(name) {
  switch (name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return 'denied';
    case 'NotFoundError':
    case 'OverconstrainedError':
      return 'missing';
    case 'NotReadableError':
    case 'AbortError':
      return 'busy';
    default:
      return 'failed';
  }
}

/**
 * @param {'camera' | 'microphone'} device
 * @param {{code: RefusalCode, detail: string}} why
 * @returns {Refusal}
 */
function refusal(device, { code, detail }) {
  return { device, code, detail, reason: reasonOf([device], code, detail) };
}

/**
 * The words for several refusals, one text for each cause.
 * @param {Refusal[]} refusals
 * @returns {string[]}
 */
export function describe(refusals) {
  const [first, second] = refusals;
  if (!first || !second || first.code !== second.code) return refusals.map((one) => one.reason);
  return [reasonOf([first.device, second.device], first.code, first.detail)];
}

/**
 * @param {string[]} devices
 * @param {RefusalCode} code
 * @param {string} detail
 */
function reasonOf(devices, code, detail) {
  const [what, is, it] = [devices.join(' and '), devices.length > 1 ? 'are' : 'is', devices.length > 1 ? 'them' : 'it'];
  switch (code) {
    case 'insecure':
      return `Browsers give ${what} to secure pages only. Open this page over https:// or on localhost.`;
    case 'denied':
      return `The ${what} ${is} blocked for this page. Allow ${it} beside the address bar, then try again.`;
    case 'missing':
      return `No ${devices.join(' and no ')} was found. Connect one, then try again.`;
    case 'busy':
      return `The ${what} cannot be opened: another program may be using ${it}. Close that program, then try again.`;
    case 'failed':
      return `The ${what} cannot be opened${detail ? `: ${detail}` : ''}.`;
  }
}
