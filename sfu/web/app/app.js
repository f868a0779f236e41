/**
 * The page: from the start screen into a call and back.
 */

import { Room, RoomClosed } from '../sdk/index.js';
import { readSettings, remember } from './settings.js';
import { developmentToken } from './token.js';
import { CallScreen } from './view/call.js';
import { StartScreen } from './view/start.js';
import { bannerWords, endWords } from './words.js';

/** @typedef {import('./view/start.js').Choice} Choice */

const CLIENT = 'lianmai-page';

/** The whole page. */
class App {
  #settings = readSettings();
  #start = new StartScreen(this.#settings, (choice) => void this.join(choice));
  /** @type {CallScreen | null} */
  #call = null;
  /** The room of the present or last call. @type {Room | null} */
  room = null;

  /** Shows the start screen, and joins if the address says so. */
  async run() {
    this.#start.show('');
    await this.#start.openDevices();
    if (this.#settings.autojoin) this.#start.submit();
  }

  /**
   * Joins with what the person chose.
   * @param {Choice} choice
   */
  async join({ name, room: roomName, token, camera, microphone, muted }) {
    const { server, codec, red, slots, identity } = this.#settings;
    remember({ name, room: roomName });
    const who = { room: roomName, identity, name };
    const room = new Room({
      url: server,
      getToken: () => token || developmentToken(server, who),
      slots,
      codec,
      red,
      client: CLIENT,
    });
    this.room = room;
    expose(this);
    this.#start.setBusy('Joining…');
    const enter = () => {
      if (this.#call) return;
      this.#start.hide();
      this.#call = new CallScreen(room, { name, room: roomName, camera: this.#settings.camera });
    };
    room.on('state', (detail) => {
      if (detail.state === 'connected') enter();
      else if (detail.state === 'closed') this.#end(new RoomClosed(detail.code ?? 'left', detail.reason ?? ''));
      else if (!this.#call) this.#start.setBusy(bannerWords(detail) ?? '');
    });
    try {
      await room.join({ camera, microphone, muted });
    } catch (error) {
      if (!(error instanceof RoomClosed)) throw error; // the state told of the end already
    }
  }

  /** @param {RoomClosed} closed */
  #end(closed) {
    this.#call?.close();
    this.#call = null;
    for (const { mediaTrack } of this.room?.local.values() ?? []) mediaTrack.stop();
    this.#start.show(endWords(closed.code, closed.message));
    if (closed.code === 'token' || closed.code === 'unauthorized') this.#start.askToken();
    void this.#start.openDevices();
  }
}

/**
 * For tests and the curious.
 * @param {App} app
 */
function expose(app) {
  Object.assign(globalThis, { lianmai: { room: app.room, app } });
}

const app = new App();
expose(app);
void app.run();
