/**
 * Small curves of the last minute, one above the other: the rate as an area, what was lost and repaired as bars, frozen
 * seconds as bands, round trip and estimate as lines of their own scales, and the layer as a strip at the foot.
 */

const POINTS = 60; // one a second
const LOSS_FULL = 0.1; // a tenth lost fills the height: beyond that the number says enough
const RATE_LEAST = 50; // kbit/s: below, the curve's full height stays at this
const RTT_LEAST = 100; // ms: the same for round trips
const STRIP = 3; // CSS pixels
const LINES_FROM = 30; // CSS pixels of height: in less, two more lines would only confuse

/** By what they show; the key beneath the curves has the same colors (style.css). */
const COLORS = {
  rate: '#ff9a62',
  area: 'rgba(255, 154, 98, 0.22)',
  lost: '#ff5d6c',
  repaired: 'rgba(69, 224, 160, 0.75)',
  frozen: 'rgba(151, 117, 250, 0.35)',
  rtt: '#6db7ff',
  estimate: 'rgba(241, 243, 248, 0.75)',
  limited: '#ffc25c',
};

/** How bright the strip is for the layers from the smallest to the largest. */
const LAYERS = { l: 0.35, m: 0.65, h: 1 };

/**
 * A second of one tile.
 * @typedef {object} Point
 * @property {number} kbps
 * @property {number} lost share of packets, 0 to 1
 * @property {number} repaired share of packets, 0 to 1
 * @property {boolean} frozen whether the picture stood still
 * @property {number | null} rttMs
 * @property {number | null} estimateKbps what the path is believed to carry in all
 * @property {string | null} layer `h`, `m` or `l`; null where there is one only, or none
 * @property {boolean} limited whether less is shown than would suit
 */

/** The curves on one canvas. */
export class Sparkline {
  #canvas;
  /** @type {Point[]} */
  #points = [];

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
  }

  /**
   * Adds a second.
   * @param {Point} point
   */
  push(point) {
    this.#points.push(point);
    if (this.#points.length > POINTS) this.#points.shift();
  }

  /** Draws in the canvas's present size. */
  draw() {
    const { clientWidth, clientHeight } = this.#canvas;
    const ratio = globalThis.devicePixelRatio || 1;
    const [width, height] = [Math.round(clientWidth * ratio), Math.round(clientHeight * ratio)];
    if (width === 0 || height === 0) return;
    if (this.#canvas.width !== width) this.#canvas.width = width;
    if (this.#canvas.height !== height) this.#canvas.height = height;
    const context = this.#canvas.getContext('2d');
    if (!context) return;
    context.clearRect(0, 0, width, height);
    const foot = height - STRIP * ratio;
    const plot = new Plot(context, this.#points, { width, height: foot, ratio });
    plot.bars((point) => (point.frozen ? 1 : 0), COLORS.frozen, 1);
    plot.area((point) => point.kbps, RATE_LEAST);
    plot.bars((point) => (point.lost + point.repaired) / LOSS_FULL, COLORS.repaired, 0.7);
    plot.bars((point) => point.lost / LOSS_FULL, COLORS.lost, 0.7);
    if (clientHeight >= LINES_FROM) {
      plot.line((point) => point.estimateKbps, RATE_LEAST, COLORS.estimate, [3, 3]);
      plot.line((point) => point.rttMs, RTT_LEAST, COLORS.rtt, []);
    }
    plot.strip(foot + ratio, height - foot - ratio);
  }
}

/** One drawing of some points. */
class Plot {
  #context;
  #points;
  #size;
  #step;

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Point[]} points
   * @param {{width: number, height: number, ratio: number}} size
   */
  constructor(context, points, size) {
    this.#context = context;
    this.#points = points;
    this.#size = size;
    this.#step = size.width / (POINTS - 1);
  }

  /**
   * @param {(point: Point) => number} value
   * @param {number} least
   */
  area(value, least) {
    const { height, ratio } = this.#size;
    const line = this.#curve(value, least);
    const area = new Path2D(line);
    area.lineTo(this.#x(this.#points.length - 1), height);
    area.lineTo(this.#x(0), height);
    this.#context.fillStyle = COLORS.area;
    this.#context.fill(area);
    this.#context.strokeStyle = COLORS.rate;
    this.#context.lineWidth = 1.5 * ratio;
    this.#context.lineJoin = 'round';
    this.#context.stroke(line);
  }

  /**
   * @param {(point: Point) => number | null} value
   * @param {number} least
   * @param {string} color
   * @param {number[]} dashes
   */
  line(value, least, color, dashes) {
    const { ratio } = this.#size;
    this.#context.strokeStyle = color;
    this.#context.lineWidth = ratio;
    this.#context.setLineDash(dashes.map((dash) => dash * ratio));
    this.#context.stroke(this.#curve(value, least));
    this.#context.setLineDash([]);
  }

  /**
   * @param {(point: Point) => number} share of the height
   * @param {string} color
   * @param {number} wide of a second
   */
  bars(share, color, wide) {
    const { height, ratio } = this.#size;
    this.#context.fillStyle = color;
    this.#points.forEach((point, index) => {
      const bar = Math.min(1, share(point)) * height;
      const left = this.#x(index) - this.#step / 2;
      if (bar > 0) this.#context.fillRect(left, height - bar, Math.max(ratio, this.#step * wide), bar);
    });
  }

  /**
   * @param {number} top
   * @param {number} height
   */
  strip(top, height) {
    this.#points.forEach((point, index) => {
      if (point.layer === null) return;
      this.#context.globalAlpha = LAYERS[/** @type {'h' | 'm' | 'l'} */ (point.layer)] ?? 1;
      this.#context.fillStyle = point.limited ? COLORS.limited : COLORS.rate;
      this.#context.fillRect(this.#x(index) - this.#step / 2, top, this.#step + 1, height);
    });
    this.#context.globalAlpha = 1;
  }

  /**
   * A line through all values that there are, the largest at the top.
   * @param {(point: Point) => number | null} value
   * @param {number} least
   */
  #curve(value, least) {
    const { height, ratio } = this.#size;
    const most = Math.max(least, ...this.#points.map((point) => value(point) ?? 0)) * 1.1;
    const path = new Path2D();
    let isDrawing = false;
    this.#points.forEach((point, index) => {
      const present = value(point);
      const y = height - ((present ?? 0) / most) * (height - 2 * ratio) - ratio;
      if (present !== null) path[isDrawing ? 'lineTo' : 'moveTo'](this.#x(index), y);
      isDrawing = present !== null;
    });
    return path;
  }

  /** @param {number} index */
  #x(index) {
    return (POINTS - this.#points.length + index) * this.#step;
  }
}
