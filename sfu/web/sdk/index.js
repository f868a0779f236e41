/**
 * The browser SDK of Lianmai. See README.md beside this file.
 */

export { Room } from './room.js';
export { LayoutObserver } from './layout.js';
export { capture, describe } from './media.js';
export { canSend } from './codecs.js';
export { RequestRefused, RoomClosed, SignalBroken } from './errors.js';
export { endpoint } from './signal.js';
