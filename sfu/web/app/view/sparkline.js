/**
 * A small curve of the last minute: kbit/s as an area, the share of lost packets as bars on top of it.
 */

const POINTS = 60; // one a second
const LOSS_FULL = 0.1; // a tenth lost fills the height: beyond that the number says enough

/** One curve on one canvas. */
export class Sparkline {
  #canvas;
  /** @type {{kbps: number, loss: number}[]} */
  #points = [];

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
  }

  /**
   * Adds a second.
   * @param {number} kbps
   * @param {number} loss 0 to 1
   */
  push(kbps, loss) {
    this.#points.push({ kbps, loss });
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
    const most = Math.max(50, ...this.#points.map((point) => point.kbps)) * 1.1;
    const step = width / (POINTS - 1);
    const first = POINTS - this.#points.length;
    const x = (/** @type {number} */ index) => (first + index) * step;
    const y = (/** @type {number} */ kbps) => height - (kbps / most) * (height - 2 * ratio) - ratio;
    const line = new Path2D();
    this.#points.forEach(({ kbps }, index) => line[index === 0 ? 'moveTo' : 'lineTo'](x(index), y(kbps)));
    const area = new Path2D(line);
    area.lineTo(x(this.#points.length - 1), height);
    area.lineTo(x(0), height);
    context.fillStyle = 'rgba(255, 154, 98, 0.22)';
    context.fill(area);
    context.strokeStyle = '#ff9a62';
    context.lineWidth = 1.5 * ratio;
    context.lineJoin = 'round';
    context.stroke(line);
    context.fillStyle = '#ff5d6c';
    this.#points.forEach(({ loss }, index) => {
      const bar = Math.min(1, loss / LOSS_FULL) * height;
      if (bar > 0) context.fillRect(x(index) - step / 2, height - bar, Math.max(ratio, step * 0.7), bar);
    });
  }
}
