/**
 * The call: tiles for oneself and the others, sound, controls, and words when something is wrong.
 *
 * In: a room's events. Out: tiles, and through `LayoutObserver` what the server should send.
 */

import { LayoutObserver, capture } from '../../sdk/index.js';
import { bannerWords } from '../words.js';
import { byId, setIcon, setText, toast, within } from './dom.js';
import { arrange, arrangeAround } from './grid.js';
import { Meter } from './meter.js';
import { Sound } from './sound.js';
import { Tile } from './tile.js';

/** @typedef {import('../../sdk/index.js').Room} Room */
/** @typedef {import('../../sdk/types.js').RemoteParticipant} RemoteParticipant */
/** @typedef {import('../../sdk/types.js').StateDetail} StateDetail */

const REMOTE_TILES = 8; // beside the own one: nine in all
const READ_EVERY_MS = 1_000; // also the step of the curves
const ASK_EVERY = 2; // readings: the server is asked more seldom, and only while readings are shown
const INSIDE_FOR_MS = 5_000; // what the server has said is shown for so long
const LISTEN_EVERY_MS = 150; // a speaking ring that lags more looks wrong
const SPEECH_LEVEL = 0.02; // full scale is 1
const GAP = 10; // CSS pixels between tiles
const GAP_NARROW = 6;

/** The call screen of one room. */
export class CallScreen {
  #root = byId('call', HTMLElement);
  #grid = byId('grid', HTMLElement);
  #room;
  #settings;
  #layout;
  #sound = new Sound();
  #meter = new Meter();
  #self;
  /** @type {Map<string, Tile>} */
  #tiles = new Map();
  #page = 0;
  /** The enlarged tile. @type {string | null} */
  #large = null;
  #showsStats = false;
  #readings = 0;
  /** What the server said last, and when. @type {{stats: import('../../sdk/types.js').ServerStats | null, atMs: number}} */
  #inside = { stats: null, atMs: 0 };
  /** @type {(() => void)[]} */
  #undo = [];

  /**
   * @param {Room} room
   * @param {{name: string, room: string, camera: {width: number, height: number, fps: number}}} settings
   */
  constructor(room, settings) {
    this.#room = room;
    this.#settings = settings;
    this.#layout = new LayoutObserver(room);
    this.#self = new Tile('self', settings.name, true);
    this.#self.actions.expand = () => this.#enlarge('self');
    this.#grid.replaceChildren(this.#self.element);
    this.#listenToRoom();
    this.#listenToPage();
    this.#showSelf();
    setText(byId('room-name', HTMLElement), settings.room);
    this.showState(room.state);
    this.#root.hidden = false;
    for (const participant of room.participants.values()) this.#add(participant);
    this.#arrange();
  }

  /** Takes the screen down. */
  close() {
    for (const undo of this.#undo) undo();
    this.#layout.close();
    this.#sound.close();
    this.#meter.listen(null);
    for (const tile of [this.#self, ...this.#tiles.values()]) tile.close();
    byId('banner', HTMLElement).hidden = true;
    this.#root.hidden = true;
  }

  /** @param {StateDetail} detail */
  showState(detail) {
    const words = bannerWords(detail);
    const banner = byId('banner', HTMLElement);
    setText(banner, words ?? '');
    banner.hidden = words === null;
    this.#root.dataset.state = detail.state;
    if (detail.state === 'connected') setText(byId('room-name', HTMLElement), this.#room.name || this.#settings.room);
  }

  // Events.

  #listenToRoom() {
    const room = this.#room;
    this.#undo.push(
      room.on('state', (detail) => this.showState(detail)),
      room.on('participantjoined', ({ participant }) => this.#add(participant)),
      room.on('participantleft', ({ participant }) => this.#remove(participant.id)),
      room.on('trackpublished', ({ participant }) => this.#show(participant)),
      room.on('trackunpublished', ({ participant, track }) => {
        this.#sound.stop(track.id);
        this.#show(participant);
      }),
      room.on('trackmuted', ({ participant }) => this.#show(participant)),
      room.on('trackattached', ({ participant, track, mediaTrack }) => {
        if (track.kind === 'audio') this.#sound.play(track.id, mediaTrack);
        else this.#show(participant);
      }),
      room.on('trackdetached', ({ participant, track }) => {
        if (track.kind === 'audio') this.#sound.stop(track.id);
        else this.#show(participant);
      }),
      room.on('localmuted', () => this.#showSelf()),
      room.on('localended', ({ track }) => {
        toast(`The ${track.source} was disconnected.`);
        this.#showSelf();
      }),
      room.on('error', ({ reason }) => toast(reason)),
    );
  }

  #listenToPage() {
    const press = (/** @type {string} */ id, /** @type {() => void} */ action) => {
      byId(id, HTMLButtonElement).onclick = action;
    };
    press('mic', () => void this.#toggle('microphone'));
    press('camera', () => void this.#toggle('camera'));
    press('stats', () => this.#toggleStats());
    press('copy', () => void this.#copyLink());
    press('leave', () => this.#room.leave());
    press('page-back', () => this.#turn(-1));
    press('page-on', () => this.#turn(1));
    const onKey = (/** @type {KeyboardEvent} */ event) => this.#key(event);
    document.addEventListener('keydown', onKey);
    const resize = new ResizeObserver(() => this.#arrange());
    resize.observe(this.#grid);
    const reading = setInterval(() => void this.#read(), READ_EVERY_MS);
    const listening = setInterval(() => this.#listen(), LISTEN_EVERY_MS);
    this.#undo.push(() => {
      document.removeEventListener('keydown', onKey);
      resize.disconnect();
      clearInterval(reading);
      clearInterval(listening);
    });
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.target instanceof Element && event.target.closest('input, textarea, select')) return;
    switch (event.key.toLowerCase()) {
      case 'm':
        return void this.#toggle('microphone');
      case 'v':
        return void this.#toggle('camera');
      case 's':
        return this.#toggleStats();
      case 'l':
        return void this.#copyLink();
      case 'escape':
        if (this.#large !== null) this.#enlarge(this.#large);
    }
  }

  // Tiles.

  /** @param {RemoteParticipant} participant */
  #add(participant) {
    const tile = new Tile(participant.id, participant.name, false);
    tile.element.dataset.identity = participant.identity;
    tile.actions.expand = () => this.#enlarge(participant.id);
    tile.showStats(this.#showsStats);
    this.#tiles.set(participant.id, tile);
    this.#arrange();
    this.#show(participant);
    for (const track of participant.tracks.values()) {
      if (track.kind === 'audio' && track.mediaTrack) this.#sound.play(track.id, track.mediaTrack);
    }
  }

  /** @param {string} id */
  #remove(id) {
    const tile = this.#tiles.get(id);
    if (!tile) return;
    this.#layout.unobserve(tile.element);
    tile.close();
    this.#tiles.delete(id);
    if (this.#large === id) this.#large = null;
    this.#arrange();
  }

  /**
   * Brings a tile in line with what its participant publishes.
   * @param {RemoteParticipant} participant
   */
  #show(participant) {
    const tile = this.#tiles.get(participant.id);
    if (!tile) return;
    const picture = pictureOf(participant);
    const sound = participant.track('microphone');
    const isSeen = picture !== null && !picture.muted;
    tile.setMuted('camera', !isSeen);
    tile.setMuted('microphone', !sound || sound.muted);
    tile.setPicture(picture?.mediaTrack ?? null, isSeen);
    tile.element.dataset.track = picture?.id ?? '';
    if (picture && tile.element.isConnected) this.#layout.observe(tile.element, picture.id);
    else this.#layout.unobserve(tile.element);
  }

  #showSelf() {
    const { local } = this.#room;
    const [camera, microphone] = [local.get('camera'), local.get('microphone')];
    const [noPicture, noSound] = [!camera || camera.muted, !microphone || microphone.muted];
    this.#self.setMuted('camera', noPicture);
    this.#self.setMuted('microphone', noSound);
    this.#self.setPicture(camera?.mediaTrack ?? null, false);
    this.#meter.listen(noSound ? null : (microphone?.mediaTrack ?? null));
    setControl('mic', noSound, 'Mute', 'Unmute', 'M');
    setControl('camera', noPicture, 'Stop video', 'Start video', 'V');
  }

  /** Puts the tiles of the present page where they belong. */
  #arrange() {
    const pages = Math.max(1, Math.ceil(this.#tiles.size / REMOTE_TILES));
    this.#page = Math.min(this.#page, pages - 1);
    const all = [...this.#tiles.values()];
    const from = this.#page * REMOTE_TILES;
    const shown = [this.#self, ...all.slice(from, from + REMOTE_TILES)];
    for (const tile of all) {
      if (shown.includes(tile)) continue;
      this.#layout.unobserve(tile.element);
      tile.element.remove();
    }
    const large = shown.findIndex((tile) => tile.id === this.#large);
    const { clientWidth: width, clientHeight: height } = this.#grid;
    const gap = width < 600 ? GAP_NARROW : GAP;
    const rects =
      large >= 0 ? arrangeAround(shown.length, large, width, height, gap) : arrange(shown.length, width, height, gap);
    shown.forEach((tile, index) => {
      const rect = rects[index];
      if (rect) tile.place(rect);
      tile.setLarge(index === large);
      if (tile.element.isConnected) return;
      this.#grid.append(tile.element);
      const participant = this.#room.participants.get(tile.id);
      if (participant) this.#show(participant);
    });
    this.#showPages(pages);
    const people = this.#tiles.size + 1;
    setText(byId('count', HTMLElement), people === 1 ? 'only you' : `${people} people`);
  }

  /** @param {number} pages */
  #showPages(pages) {
    byId('pager', HTMLElement).hidden = pages < 2;
    setText(byId('page-words', HTMLElement), `${this.#page + 1} of ${pages}`);
    byId('page-back', HTMLButtonElement).disabled = this.#page === 0;
    byId('page-on', HTMLButtonElement).disabled = this.#page === pages - 1;
  }

  /** @param {number} by */
  #turn(by) {
    this.#page = Math.max(0, this.#page + by);
    this.#large = null;
    this.#arrange();
  }

  /**
   * Enlarges a tile, or takes that back.
   * @param {string} id
   */
  #enlarge(id) {
    this.#large = this.#large === id ? null : id;
    this.#arrange();
  }

  // Controls.

  /** @param {'camera' | 'microphone'} source */
  async #toggle(source) {
    const local = this.#room.local.get(source);
    if (local && local.mediaTrack.readyState === 'live') {
      this.#room.mute(source, !local.muted);
      return;
    }
    const isCamera = source === 'camera';
    const opened = await capture({ camera: isCamera && this.#settings.camera, microphone: !isCamera });
    for (const refusal of opened.refusals) toast(refusal.reason, 8_000);
    const track = opened[source];
    if (!track) return;
    const published = this.#room.publish(source, track);
    this.#showSelf();
    await published;
    if (this.#room.local.get(source)?.mediaTrack !== track) track.stop(); // refused: the words came as an `error`
    this.#showSelf();
  }

  #toggleStats() {
    this.#showsStats = !this.#showsStats;
    byId('stats', HTMLElement).setAttribute('aria-pressed', String(this.#showsStats));
    for (const tile of [this.#self, ...this.#tiles.values()]) tile.showStats(this.#showsStats);
  }

  async #copyLink() {
    const link = new URL(location.pathname, location.href);
    link.searchParams.set('room', this.#room.name || this.#settings.room);
    try {
      await navigator.clipboard.writeText(link.href);
      toast('Link copied. Whoever opens it can join.');
    } catch {
      toast(`Copy this link: ${link.href}`, 12_000); // the clipboard needs a secure page and the focus
    }
  }

  // Readings.

  async #read() {
    void this.#ask();
    const stats = await this.#room.stats();
    const inside = performance.now() - this.#inside.atMs < INSIDE_FOR_MS ? this.#inside.stats : null;
    const rtt = stats.rttMs ?? stats.signalRttMs;
    const health = byId('health', HTMLElement);
    setText(health, rtt === null ? '' : `${Math.round(rtt)} ms`);
    health.classList.toggle('slow', rtt !== null && rtt > 200);
    this.#self.readings.sent(stats.sent, stats.availableKbps, inside);
    for (const [id, tile] of this.#tiles) {
      const own = stats.received.filter((one) => one.participant === id);
      tile.readings.received(
        own.find((one) => one.kind === 'video'),
        own.find((one) => one.kind === 'audio'),
        inside,
      );
    }
  }

  /** Asks the server what it knows, while somebody looks. */
  async #ask() {
    const isShown = [this.#self, ...this.#tiles.values()].some((tile) => tile.showsStats);
    if (!isShown || this.#readings++ % ASK_EVERY > 0) return;
    const stats = await this.#room.serverStats();
    if (stats) this.#inside = { stats, atMs: performance.now() };
  }

  #listen() {
    this.#self.setSpeaking(this.#meter.level() > SPEECH_LEVEL);
    for (const participant of this.#room.participants.values()) {
      const sound = participant.track('microphone');
      const level = sound && !sound.muted ? this.#room.audioLevel(sound.id) : 0;
      this.#tiles.get(participant.id)?.setSpeaking(level > SPEECH_LEVEL);
    }
  }
}

/**
 * The picture to show of somebody: what they share, or their camera.
 * @param {RemoteParticipant} participant
 */
function pictureOf(participant) {
  return participant.track('screen') ?? participant.track('camera');
}

/**
 * @param {'mic' | 'camera'} id
 * @param {boolean} isOff
 * @param {string} offWords what a press does while it is on
 * @param {string} onWords what a press does while it is off
 * @param {string} key
 */
function setControl(id, isOff, offWords, onWords, key) {
  const button = byId(id, HTMLButtonElement);
  button.classList.toggle('off', isOff);
  button.title = `${isOff ? onWords : offWords} (${key})`;
  setText(within(button, 'span', HTMLElement), isOff ? onWords : offWords);
  setIcon(button, isOff ? `${id}-off` : id);
}
