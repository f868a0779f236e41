/**
 * The start screen: who, where, and oneself as the others will see it.
 */

import { capture, describe } from '../../sdk/index.js';
import { byId, make, setIcon, setText } from './dom.js';
import { Meter } from './meter.js';

/** @typedef {import('../settings.js').Settings} Settings */
/** @typedef {import('../../sdk/media.js').Refusal} Refusal */

const ASK_WORDS_AFTER_MS = 700; // a browser that has the permission opens a camera faster

/**
 * What the person chose.
 * @typedef {object} Choice
 * @property {string} name
 * @property {string} room
 * @property {string} token
 * @property {MediaStreamTrack | null} camera
 * @property {MediaStreamTrack | null} microphone
 * @property {{camera: boolean, microphone: boolean}} muted
 */

/** The start screen. */
export class StartScreen {
  #root = byId('start', HTMLElement);
  #form = byId('join-form', HTMLFormElement);
  #video = byId('preview', HTMLVideoElement);
  #join = byId('join', HTMLButtonElement);
  #words = byId('start-words', HTMLElement);
  #meter = new Meter();
  #settings;
  #onJoin;
  #muted = { camera: false, microphone: false };
  #chosen = { camera: '', microphone: '' };
  /** @type {{camera: MediaStreamTrack | null, microphone: MediaStreamTrack | null}} */
  #tracks = { camera: null, microphone: null };
  /** @type {Refusal[]} */
  #refusals = [];
  #asking = 0;
  #frame = 0;

  /**
   * @param {Settings} settings
   * @param {(choice: Choice) => void} onJoin
   */
  constructor(settings, onJoin) {
    this.#settings = settings;
    this.#onJoin = onJoin;
    byId('name', HTMLInputElement).value = settings.name;
    const room = byId('room', HTMLInputElement);
    room.value = settings.room;
    room.readOnly = settings.token !== '';
    byId('token', HTMLInputElement).value = settings.token;
    this.#form.onsubmit = (event) => {
      event.preventDefault();
      this.#submit();
    };
    byId('preview-mic', HTMLElement).onclick = () => this.#toggle('microphone');
    byId('preview-camera', HTMLElement).onclick = () => this.#toggle('camera');
    for (const device of /** @type {const} */ (['camera', 'microphone'])) {
      const select = byId(`${device}-select`, HTMLSelectElement);
      select.onchange = () => {
        this.#chosen[device] = select.value;
        void this.openDevices();
      };
    }
  }

  /**
   * Shows the screen, with the words of the call that ended, if any.
   * @param {string} ended
   */
  show(ended) {
    this.#root.hidden = false;
    const box = byId('ended', HTMLElement);
    setText(box, ended);
    box.hidden = ended === '';
    this.setBusy('');
    const empty = ['name', 'room'].map((id) => byId(id, HTMLInputElement)).find((input) => !input.value);
    (empty ?? this.#join).focus({ preventScroll: true });
    this.#draw();
  }

  /** Hides the screen; the devices stay open. */
  hide() {
    this.#root.hidden = true;
    this.#video.srcObject = null;
    this.#meter.listen(null);
    cancelAnimationFrame(this.#frame);
  }

  /**
   * Says that something is under way; empty when it is over.
   * @param {string} words
   */
  setBusy(words) {
    this.#join.disabled = words !== '';
    setText(this.#words, words);
  }

  /** Asks for an access token. */
  askToken() {
    byId('token-field', HTMLElement).hidden = false;
    byId('token', HTMLInputElement).required = true;
    byId('token', HTMLInputElement).focus();
  }

  /** Opens camera and microphone, or shows why not. */
  async openDevices() {
    const asking = ++this.#asking;
    this.#stop();
    this.#refusals = [];
    this.#show();
    const timer = setTimeout(() => {
      if (asking === this.#asking) this.#show('Your browser asks whether this page may use the camera and microphone.');
    }, ASK_WORDS_AFTER_MS);
    const { wants, camera } = this.#settings;
    const opened = await capture({
      camera: wants.camera && { ...camera, deviceId: this.#chosen.camera },
      microphone: wants.microphone,
      microphoneId: this.#chosen.microphone,
    });
    clearTimeout(timer);
    if (asking !== this.#asking || this.#root.hidden) {
      for (const track of [opened.camera, opened.microphone]) track?.stop(); // joined without them meanwhile
      return;
    }
    this.#tracks = { camera: opened.camera, microphone: opened.microphone };
    this.#refusals = opened.refusals;
    this.#show();
    await this.#listDevices();
  }

  /** Joins as the screen stands. */
  #submit() {
    this.#asking++;
    byId('ended', HTMLElement).hidden = true;
    this.#onJoin({
      name: byId('name', HTMLInputElement).value.trim(),
      room: byId('room', HTMLInputElement).value.trim(),
      token: byId('token', HTMLInputElement).value.trim(),
      ...this.#tracks,
      muted: { ...this.#muted },
    });
  }

  /** Presses the join button, if the form is complete. */
  submit() {
    this.#form.requestSubmit();
  }

  /** @param {'camera' | 'microphone'} device */
  #toggle(device) {
    if (!this.#tracks[device]) {
      this.#settings.wants[device] = true;
      void this.openDevices();
      return;
    }
    this.#muted[device] = !this.#muted[device];
    this.#show();
  }

  #stop() {
    for (const track of Object.values(this.#tracks)) track?.stop();
    this.#tracks = { camera: null, microphone: null };
  }

  /** @param {string} [asking] the words while the browser asks */
  #show(asking) {
    const { camera, microphone } = this.#tracks;
    for (const [device, track] of /** @type {const} */ ([['camera', camera], ['microphone', microphone]])) {
      const isOff = !track || this.#muted[device];
      if (track) track.enabled = !isOff;
      const button = byId(device === 'camera' ? 'preview-camera' : 'preview-mic', HTMLElement);
      button.setAttribute('aria-pressed', String(isOff));
      button.setAttribute('aria-label', `Turn the ${device} ${isOff ? 'on' : 'off'}`);
      button.title = `Turn the ${device} ${isOff ? 'on' : 'off'}`;
      button.classList.toggle('off', isOff);
      setIcon(button, `${device === 'camera' ? 'camera' : 'mic'}${isOff ? '-off' : ''}`);
    }
    const shown = this.#muted.camera ? null : camera;
    byId('preview-empty', HTMLElement).hidden = shown !== null;
    setText(byId('preview-words', HTMLElement), asking ?? (this.#refusals.length > 0 ? '' : 'Your camera is off'));
    const present = /** @type {MediaStream | null} */ (this.#video.srcObject)?.getVideoTracks()[0] ?? null;
    if (present !== shown) this.#video.srcObject = shown && new MediaStream([shown]);
    this.#meter.listen(this.#muted.microphone ? null : microphone);
    const missing = [!camera && 'camera', !microphone && 'microphone'].filter(Boolean);
    const without = missing.length > 0 && (asking || this.#refusals.length > 0);
    setText(this.#join, without ? `Join without ${missing.join(' and ')}` : 'Join');
    this.#showRefusals();
  }

  #showRefusals() {
    const box = byId('refusals', HTMLElement);
    box.replaceChildren();
    box.hidden = this.#refusals.length === 0;
    if (box.hidden) return;
    for (const reason of describe(this.#refusals)) box.append(make('p', '', reason));
    if (this.#refusals.some((one) => one.code === 'insecure')) return; // trying again would not help
    const again = /** @type {HTMLButtonElement} */ (make('button', 'link', 'Try again'));
    again.type = 'button';
    again.onclick = () => void this.openDevices();
    box.append(again);
  }

  /** Offers a choice where there is one. */
  async #listDevices() {
    const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    for (const device of /** @type {const} */ (['camera', 'microphone'])) {
      const kind = device === 'camera' ? 'videoinput' : 'audioinput';
      const choices = devices.filter((one) => one.kind === kind && one.deviceId && one.label);
      byId(`${device}-field`, HTMLElement).hidden = choices.length < 2;
      const present = this.#tracks[device]?.getSettings().deviceId;
      byId(`${device}-select`, HTMLSelectElement).replaceChildren(
        ...choices.map((one) => new Option(one.label, one.deviceId, false, one.deviceId === present)),
      );
    }
  }

  #draw() {
    cancelAnimationFrame(this.#frame);
    const bar = byId('meter', HTMLElement);
    const step = () => {
      bar.style.transform = `scaleX(${Math.min(1, this.#meter.level() * 6)})`;
      this.#frame = requestAnimationFrame(step);
    };
    step();
  }
}
