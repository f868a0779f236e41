/**
 * The errors of the SDK. Each carries a `code` for programs and a message for people.
 */

/** The WebSocket broke or the server did not reply in time: worth another attempt. */
export class SignalBroken extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = 'SignalBroken';
  }
}

/** The server answered a request with `error`: everything is as before it. */
export class RequestRefused extends Error {
  /**
   * @param {import('./types.js').ErrorCode} code
   * @param {string} reason
   */
  constructor(code, reason) {
    super(reason);
    this.name = 'RequestRefused';
    this.code = code;
  }
}

/** The room is closed and does not come back by itself. */
export class RoomClosed extends Error {
  /**
   * @param {import('./types.js').StateCode} code
   * @param {string} reason
   */
  constructor(code, reason) {
    super(reason);
    this.name = 'RoomClosed';
    this.code = code;
    /** No further attempt helps. */
    this.final = true;
  }
}

/**
 * The words of whatever was thrown.
 * @param {unknown} error
 */
export function words(error) {
  return error instanceof Error ? error.message : String(error);
}
