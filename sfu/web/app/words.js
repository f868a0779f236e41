/**
 * What the page says about the state of the connection: what happened, and what will come of it.
 */

/** @typedef {import('../sdk/types.js').StateDetail} StateDetail */

/**
 * The banner over the grid, or null if all is well.
 * @param {StateDetail} detail
 * @returns {string | null}
 */
export function bannerWords({ state, code, reason }) {
  if (state === 'connecting') {
    if (code === 'unreachable') return 'The server cannot be reached. Trying again…';
    if (code === 'offline') return 'This device has no network. The page joins when it is back.';
    return code && reason ? `Not in the room yet: ${reason}. Trying again…` : 'Joining…';
  }
  if (state !== 'reconnecting') return null;
  switch (code) {
    case 'offline':
      return 'This device has no network. The call goes on when it is back.';
    case 'signal_lost':
      return 'The connection to the server broke. Reconnecting…';
    case 'unreachable':
      return 'The server is gone. The call goes on when it is back.';
    case 'media_silent':
      return 'Sound and picture do not get through. Looking for another way…';
    case 'server_closing':
      return 'The server is restarting. The call goes on when it is back.';
    case 'session_over':
    case 'media_lost':
      return 'The connection was lost for too long. Joining again…';
    default:
      return reason ? `Reconnecting: ${reason}…` : 'Reconnecting…';
  }
}

/**
 * The words on the start screen after the call ended; empty after leaving by oneself.
 * @param {import('../sdk/types.js').StateCode} code
 * @param {string} reason
 */
export function endWords(code, reason) {
  switch (code) {
    case 'left':
      return '';
    case 'replaced':
      return 'You joined this room from another page or device, so this page left it.';
    case 'unauthorized':
      return `The server does not accept the access token: ${reason}`;
    case 'token':
      return 'This server gives no access tokens by itself. Enter one.';
    case 'not_allowed':
      return `The access token does not allow this: ${reason}`;
    case 'limit_reached':
      return `The room cannot be entered now: ${reason}`;
    case 'unsupported_version':
      return 'This page is older or newer than the server. Reload it.';
    case 'failed':
      return `This browser could not join: ${reason}`;
    case 'refused':
      return `The server refused: ${reason}`;
    default:
      return reason || 'The call ended.';
  }
}
