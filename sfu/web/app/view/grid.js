/**
 * Where the tiles lie: the arrangement that shows the most picture in the space there is, or one tile large and the
 * others in a strip.
 */

/** @typedef {{left: number, top: number, width: number, height: number}} Rect */

const ASPECT_MAX = 16 / 9; // wider than a camera's picture wastes space
const ASPECT_MIN = { wide: 4 / 3, tall: 0.62 }; // narrower hides too much; on a phone faces fill tall tiles well
const STRIP_SHARE = 0.2; // of the space, for the tiles beside an enlarged one
const STRIP_MIN = 84; // pixels

/**
 * The places of `count` tiles of equal size, row by row, the last row centered.
 * @param {number} count
 * @param {number} width of the space, in CSS pixels
 * @param {number} height
 * @param {number} gap
 * @param {number} [aspectMin] of a tile
 * @returns {Rect[]}
 */
export function arrange(count, width, height, gap, aspectMin = aspectFor(width, height)) {
  let best = { columns: 1, width: 0, height: 0, score: -1 };
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const cell = { width: (width - gap * (columns - 1)) / columns, height: (height - gap * (rows - 1)) / rows };
    if (cell.width <= 0 || cell.height <= 0) continue;
    const size = {
      width: Math.min(cell.width, cell.height * ASPECT_MAX),
      height: Math.min(cell.height, cell.width / aspectMin),
    };
    // A full last row looks calmer than a little more picture.
    const score = (size.width * size.height * count) / (columns * rows);
    if (score > best.score) best = { columns, ...size, score };
  }
  const rows = Math.ceil(count / best.columns);
  const top = (height - rows * best.height - (rows - 1) * gap) / 2;
  return Array.from({ length: count }, (_, index) => {
    const row = Math.floor(index / best.columns);
    const inRow = Math.min(best.columns, count - row * best.columns);
    const left = (width - inRow * best.width - (inRow - 1) * gap) / 2;
    return whole({
      left: left + (index % best.columns) * (best.width + gap),
      top: top + row * (best.height + gap),
      width: best.width,
      height: best.height,
    });
  });
}

/**
 * The places of tiles of which one is enlarged.
 * @param {number} count
 * @param {number} large the index of the enlarged one
 * @param {number} width
 * @param {number} height
 * @param {number} gap
 * @returns {Rect[]}
 */
export function arrangeAround(count, large, width, height, gap) {
  if (count === 1) return arrange(1, width, height, gap);
  const beside = width > height; // the strip stands beside the large tile, or lies beneath it
  const aspect = aspectFor(width, height);
  const strip = Math.max(STRIP_MIN, (beside ? width : height) * STRIP_SHARE);
  const main = beside
    ? { left: 0, top: 0, width: width - strip - gap, height }
    : { left: 0, top: 0, width, height: height - strip - gap };
  const others = beside
    ? arrange(count - 1, strip, height, gap, aspect).map((rect) => ({ ...rect, left: rect.left + width - strip }))
    : arrange(count - 1, width, strip, gap, aspect).map((rect) => ({ ...rect, top: rect.top + height - strip }));
  return Array.from({ length: count }, (_, index) => {
    if (index === large) return whole(main);
    return /** @type {Rect} */ (others[index < large ? index : index - 1]);
  });
}

/**
 * The narrowest tile for a screen of this shape.
 * @param {number} width
 * @param {number} height
 */
function aspectFor(width, height) {
  return width > height ? ASPECT_MIN.wide : ASPECT_MIN.tall;
}

/**
 * On whole pixels, so that edges are sharp.
 * @param {Rect} rect
 * @returns {Rect}
 */
function whole({ left, top, width, height }) {
  return { left: Math.round(left), top: Math.round(top), width: Math.floor(width), height: Math.floor(height) };
}
