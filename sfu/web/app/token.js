/**
 * Where the page's access token comes from: the address, the person, or a server in development.
 */

import { RoomClosed, endpoint } from '../sdk/index.js';

/** The server gives out no tokens: the person must bring one. */
export class TokenWanted extends RoomClosed {
  constructor() {
    super('token', 'this server gives no access tokens by itself');
  }
}

/**
 * Asks a server in development for a token.
 * @param {string} server
 * @param {{room: string, identity: string, name: string}} who
 * @returns {Promise<string>}
 */
export async function developmentToken(server, who) {
  const response = await fetch(endpoint(server, 'dev/token', who), { cache: 'no-store' });
  const text = (await response.text()).trim();
  if (response.status === 404) throw new TokenWanted();
  /** @type {{token?: string, reason?: string}} */
  const reply = parsed(text);
  if (response.status >= 400 && response.status < 500) throw new RoomClosed('refused', reply.reason ?? text);
  if (!response.ok) throw new Error(reply.reason ?? `the server replied ${response.status}`);
  return reply.token ?? text;
}

/** @param {string} text */
function parsed(text) {
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}
