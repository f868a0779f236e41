/**
 * Tells the server which pictures are seen and how large, from the elements that show them.
 *
 * In: elements. Out: `room.setLayout`, at most once per `SETTLE_MS` while a window is dragged, at once for a new tile.
 */

/** @typedef {import('./types.js').Strategy} Strategy */

const SETTLE_MS = 150; // a dragged window edge gives a size every frame; each layout may cost a key frame
const SETTLE_MAX_MS = 600; // a drag that never pauses is followed all the same

/** Watches elements and states their sizes in device pixels; what is out of sight has size 0. */
export class LayoutObserver {
  #room;
  /** @type {Map<Element, {track: string, strategy: Strategy | undefined, inSight: boolean}>} */
  #watched = new Map();
  #resize = new ResizeObserver(() => this.#settle());
  #sight = new IntersectionObserver((entries) => this.#sighted(entries));
  #timer = 0;
  #dueBy = 0;
  #urgent = false;
  #visibility = () => this.flush();

  /** @param {{setLayout(tiles: import('./types.js').Tile[]): void}} room */
  constructor(room) {
    this.#room = room;
    document.addEventListener('visibilitychange', this.#visibility);
  }

  /**
   * Shows a track in an element from now on; replaces what the element showed before.
   * @param {Element} element
   * @param {string} track
   * @param {Strategy} [strategy] how it is carried to this viewer, if not as its publisher has it
   */
  observe(element, track, strategy) {
    const known = this.#watched.get(element);
    if (known?.track === track) {
      if (JSON.stringify(known.strategy) === JSON.stringify(strategy)) return;
      known.strategy = strategy;
      return this.#settle();
    }
    this.#watched.set(element, { track, strategy, inSight: true });
    this.#resize.observe(element);
    this.#sight.observe(element);
    this.#urgent = true; // the picture is not sent before the server knows of the tile
    this.#settle();
  }

  /**
   * The element shows no track any more.
   * @param {Element} element
   */
  unobserve(element) {
    if (!this.#watched.delete(element)) return;
    this.#resize.unobserve(element);
    this.#sight.unobserve(element);
    this.#settle();
  }

  /** States the layout now. */
  flush() {
    clearTimeout(this.#timer);
    this.#dueBy = 0;
    this.#urgent = false;
    const hidden = document.visibilityState === 'hidden';
    const ratio = globalThis.devicePixelRatio || 1;
    this.#room.setLayout(
      [...this.#watched].map(([element, { track, strategy, inSight }]) => {
        const { width, height } = element.getBoundingClientRect();
        const seen = inSight && !hidden;
        return {
          track,
          width: seen ? Math.round(width * ratio) : 0,
          height: seen ? Math.round(height * ratio) : 0,
          ...(strategy && { strategy }),
        };
      }),
    );
  }

  /** Stops watching. */
  close() {
    clearTimeout(this.#timer);
    document.removeEventListener('visibilitychange', this.#visibility);
    this.#resize.disconnect();
    this.#sight.disconnect();
    this.#watched.clear();
  }

  /** @param {IntersectionObserverEntry[]} entries */
  #sighted(entries) {
    for (const entry of entries) {
      const watched = this.#watched.get(entry.target);
      if (!watched || watched.inSight === entry.isIntersecting) continue;
      watched.inSight = entry.isIntersecting;
      this.#settle();
    }
  }

  #settle() {
    const now = performance.now();
    this.#dueBy ||= now + SETTLE_MAX_MS;
    clearTimeout(this.#timer);
    const waitMs = this.#urgent ? 0 : Math.min(SETTLE_MS, this.#dueBy - now);
    this.#timer = setTimeout(() => this.flush(), waitMs);
  }
}
