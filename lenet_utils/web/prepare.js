// From a picture of one digit to one like MNIST's: the steps of lenet_utils/preparation.py, which
// says why each is taken, by the same names. Keep both alike: tests/test_page.py compares them.
//
// (INPUT, 32, stands in answer.js.)
//
// A picture is {height, width, channels, values}, numbers from 0 (black) up, row by row. After the
// first step it is ink (or light), {height, width, values}, from 0 to 1, one value for a pixel.

const WORKING_SIDE = 512, BOX = 20, MNIST_SIDE = 28;

const longer = ({ height, width }) => Math.max(height, width);
const clip = (value, low = 0, high = 1) => (value < low ? low : value > high ? high : value);

function plane(height, width, values = new Float64Array(height * width)) {
  return { height, width, values };
}

function mean(values) {
  let sum = 0;
  for (let n = 0; n < values.length; n += 1) sum += values[n];
  return sum / values.length;
}

/** As many values as `count`, each of its place. (Faster than `map` of a typed array.) */
function filled(count, value) {
  const values = new Float64Array(count);
  for (let place = 0; place < count; place += 1) values[place] = value(place);
  return values;
}

/** The least and the most of values. */
function ends(values) {
  let [low, high] = [Infinity, -Infinity];
  for (let n = 0; n < values.length; n += 1) {
    if (values[n] < low) low = values[n];
    if (values[n] > high) high = values[n];
  }
  return [low, high];
}

/** To the nearest whole number, halves to the even one, as Python rounds. */
function nearest(value) {
  const below = Math.floor(value);
  const even = below % 2 === 0 ? below : below + 1;
  return value - below === 0.5 ? even : Math.round(value);
}

/** The mean of values, their standard deviation and their skewness. */
function moments(values) {
  const middle = mean(values);
  let squares = 0, cubes = 0;
  for (let n = 0; n < values.length; n += 1) {
    const apart = values[n] - middle;
    squares += apart * apart;
    cubes += apart * apart * apart;
  }
  const deviation = Math.sqrt(squares / values.length);
  return { deviation, skewness: cubes / values.length / Math.max(deviation, 1e-12) ** 3 };
}

function lightness({ height, width, channels = 1, values }) {
  const pixels = height * width, top = ends(values)[1] || 1;
  const parts = Array.from({ length: channels }, (_, channel) =>
    filled(pixels, (place) => values[place * channels + channel] / top));
  if (channels === 4) {
    const alpha = parts.pop();
    let colour = 0;
    for (const part of parts) part.forEach((value, place) => (colour += alpha[place] * value));
    const ground = colour / Math.max(3 * pixels * mean(alpha), 1e-9) < 0.5 ? 1 : 0;
    for (const part of parts)
      for (let n = 0; n < pixels; n += 1) part[n] = alpha[n] * part[n] + (1 - alpha[n]) * ground;
  }
  const spreads = parts.map((part) => (channels > 1 ? moments(part).deviation : 0));
  const light = plane(height, width, parts[spreads.indexOf(Math.max(...spreads))]);
  return scaled(light, Math.min(1, WORKING_SIDE / longer(light)));
}

function findInk({ height, width, values }) {
  const [darkest, lightest] = ends(values);
  if (Math.min(height, width) < 2 || lightest - darkest < 0.02)
    throw new Error("There is no ink on this paper.");
  const apart = paperOf({ height, width, values }, false);
  for (let n = 0; n < apart.length; n += 1) apart[n] = values[n] - apart[n];
  const { skewness } = moments(apart), few = Math.abs(skewness) > 1;
  const size = Math.max(1, Math.floor(Math.min(height, width) / 20));
  const corners = [[0, 0], [0, width - size], [height - size, 0], [height - size, width - size]];
  const whole = plane(height, width, apart);
  const ofCorners = corners.map(([top, left]) => mean(cropped(whole, top, left, size, size).values));
  const darkInk = few ? skewness < 0 : mean(ofCorners) > mean(ends(apart));
  const light = darkInk ? values : filled(values.length, (place) => 1 - values[place]);
  const ink = paperOf({ height, width, values: light }, few, 3); // still paper
  for (let n = 0; n < ink.length; n += 1)
    ink[n] = clip((ink[n] - light[n]) / Math.max(ink[n], 0.05));
  const [, top] = ends(ink);
  if (top < 0.05) throw new Error("There is no ink that stands out from this paper.");
  for (let n = 0; n < ink.length; n += 1) ink[n] /= top;
  return plane(height, width, ink);
}

function cutOut({ height, width, values: ink }) {
  const { labels, sizes } = strokesOf(plane(height, width, ink));
  const smallest = 0.05 * ends(sizes)[1];
  const kept = new Uint8Array(labels.length);
  for (let n = 0; n < kept.length; n += 1)
    kept[n] = labels[n] && sizes[labels[n]] >= smallest ? 1 : 0;
  const radius = Math.max(1, nearest(Math.max(height, width) / MNIST_SIDE));
  const near = dilated(plane(height, width, kept), radius);
  const rest = filled(ink.length, (place) => (near[place] ? ink[place] : 0));
  const rows = [], columns = [];
  for (let place = 0; place < rest.length; place += 1)
    if (rest[place] > 0.15) rows.push(Math.floor(place / width)), columns.push(place % width);
  const [[top, bottom], [left, right]] = [ends(rows), ends(columns)];
  return cropped(plane(height, width, rest), top, left, bottom - top + 1, right - left + 1);
}

const fitBox = (ink, side = BOX) => scaled(ink, side / longer(ink));

function darken({ height, width, values }) {
  const half = 0.5 * ends(values)[1];
  const inside = values.filter((value) => value >= half).sort();
  const place = 0.9 * (inside.length - 1), below = Math.floor(place);
  const above = inside[Math.min(below + 1, inside.length - 1)];
  const full = inside[below] + (place - below) * (above - inside[below]);
  return plane(height, width, values.map((value) => clip((value - 0.1) / (full - 0.1))));
}

function centre({ height, width, values }, size = MNIST_SIDE) {
  let mass = 0, ofRows = 0, ofColumns = 0;
  values.forEach((ink, place) => {
    mass += ink;
    ofRows += ink * Math.floor(place / width);
    ofColumns += ink * (place % width);
  });
  const top = clip(nearest(size / 2 - ofRows / mass), 0, size - height);
  const left = clip(nearest(size / 2 - ofColumns / mass), 0, size - width);
  const placed = plane(size, size);
  for (let row = 0; row < height; row += 1)
    placed.values.set(values.subarray(row * width, (row + 1) * width), (top + row) * size + left);
  return placed;
}

/** A picture of one digit → what the network reads: Uint8Array of 32×32, 0 (paper) to 255 (ink). */
function prepare(picture) {
  const ink = centre(darken(fitBox(cutOut(findInk(lightness(picture))))));
  return resized(ink.values.map((value) => 255 * value));
}

/** MNIST's 28×28 pixels, 0 to 255 → Uint8Array of 32×32. */
function resized(pixels) {
  const whole = plane(MNIST_SIDE, MNIST_SIDE, Float64Array.from(pixels, nearest));
  return Uint8Array.from(interpolated(whole, INPUT, INPUT, hat, Math.round).values);
}

// What these steps are made of

function cropped({ width, values }, top, left, height, columns) {
  const part = plane(height, columns);
  for (let row = 0; row < height; row += 1) {
    const start = (top + row) * width + left;
    part.values.set(values.subarray(start, start + columns), row * columns);
  }
  return part;
}

/** The surface through most pixels: least absolute differences, by weighted least squares. */
function paperOf({ height, width, values }, curved, preferLight = 1) {
  const count = curved ? 6 : 3; // of 1, x, y, x², xy, y²
  const step = Math.ceil(Math.max(height, width) / 64), known = []; // some pixels are enough
  for (let row = 0; row < height; row += step)
    for (let column = 0; column < width; column += step) {
      const x = -1 + (2 * column) / (width - 1), y = -1 + (2 * row) / (height - 1);
      known.push([1, x, y, ...(curved ? [x * x, x * y, y * y] : []), values[row * width + column]]);
    }
  const weights = new Float64Array(known.length).fill(1);
  let factors;
  for (let turn = 0; turn < 8; turn += 1) {
    const equations = Array.from({ length: count }, () => new Float64Array(count + 1));
    for (let n = 0; n < known.length; n += 1)
      for (let i = 0; i < count; i += 1) {
        const weighted = weights[n] * known[n][i];
        for (let j = i; j <= count; j += 1) equations[i][j] += weighted * known[n][j];
      }
    for (let i = 0; i < count; i += 1) {
      for (let j = 0; j < i; j += 1) equations[i][j] = equations[j][i];
      equations[i][i] += 1e-9;
    }
    factors = solved(equations);
    for (let n = 0; n < known.length; n += 1) {
      let apart = known[n][count];
      for (let i = 0; i < count; i += 1) apart -= factors[i] * known[n][i];
      weights[n] = (apart > 0 ? preferLight : 1) / Math.max(Math.abs(apart), 0.02);
    }
  }
  const [a, b, c, d = 0, e = 0, f = 0] = factors, surface = new Float64Array(values.length);
  for (let place = 0, row = 0; row < height; row += 1)
    for (let column = 0; column < width; column += 1, place += 1) {
      const x = -1 + (2 * column) / (width - 1), y = -1 + (2 * row) / (height - 1);
      surface[place] = a + x * (b + d * x + e * y) + y * (c + f * y);
    }
  return surface;
}

/** Equations, each its factors and its right side → the unknowns, by Gauss's elimination. */
function solved(equations) {
  const count = equations.length;
  for (let n = 0; n < count; n += 1) {
    let pivot = n;
    for (let i = n + 1; i < count; i += 1)
      if (Math.abs(equations[i][n]) > Math.abs(equations[pivot][n])) pivot = i;
    [equations[n], equations[pivot]] = [equations[pivot], equations[n]];
    for (let i = 0; i < count; i += 1) {
      if (i === n) continue;
      const factor = equations[i][n] / equations[n][n];
      for (let j = n; j <= count; j += 1) equations[i][j] -= factor * equations[n][j];
    }
  }
  return equations.map((equation, n) => equation[count] / equation[n]);
}

/** Connected ink, corners included: the number of its stroke for each pixel, and their sizes. */
function strokesOf({ height, width, values }) {
  const labels = new Int32Array(values.length), sizes = [0]; // number 0 is paper
  for (let start = 0; start < values.length; start += 1) {
    if (values[start] <= 0.35 || labels[start]) continue;
    const waiting = [start];
    labels[start] = sizes.push(0) - 1;
    while (waiting.length) {
      const place = waiting.pop(), row = Math.floor(place / width), column = place % width;
      sizes[labels[start]] += 1;
      for (let y = Math.max(0, row - 1); y <= Math.min(height - 1, row + 1); y += 1)
        for (let x = Math.max(0, column - 1); x <= Math.min(width - 1, column + 1); x += 1)
          if (values[y * width + x] > 0.35 && !labels[y * width + x]) {
            labels[y * width + x] = labels[start];
            waiting.push(y * width + x);
          }
    }
  }
  return { labels, sizes };
}

/** Which pixels have a 1 within a square that reaches `radius` pixels to each side. */
function dilated({ height, width, values }, radius) {
  function along(from, lines, line, count, stride) {
    const to = new Uint8Array(from.length);
    for (let n = 0; n < lines; n += 1)
      for (const [first, step] of [[n * line, stride], [n * line + (count - 1) * stride, -stride]])
        for (let left = 0, k = 0, place = first; k < count; k += 1, place += step) {
          left = from[place] ? radius + 1 : left - 1; // pixels that the last 1 still reaches
          if (left > 0) to[place] = 1;
        }
    return to;
  }
  return along(along(values, height, width, width, 1), width, 1, height, width);
}

/** How much a sample counts, by its distance: for lines between samples, and for cubic curves. */
const hat = (x) => Math.max(0, 1 - Math.abs(x));
function cubic(distance) {
  const x = Math.abs(distance);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}
hat.reach = 1;
cubic.reach = 2;

/** Shrunk with antialiasing, or enlarged by cubic interpolation, which keeps edges sharp. */
function scaled(image, factor) {
  const [height, width] = [image.height, image.width].map((n) => Math.max(1, nearest(n * factor)));
  if (height === image.height && width === image.width) return image;
  return interpolated(image, height, width, factor < 1 ? hat : cubic, clip);
}

/** Along the rows, then along the columns; `finish` is done to each value, as torch does it. */
function interpolated(image, height, width, kernel, finish) {
  const whole = finish === Math.round ? finish : (value) => value; // of uint8 each pass is rounded
  return turned(stretched(turned(stretched(image, width, kernel, whole)), height, kernel, finish));
}

function turned({ height, width, values }) {
  const other = plane(width, height);
  values.forEach((value, place) => {
    other.values[(place % width) * height + Math.floor(place / width)] = value;
  });
  return other;
}

function stretched(image, width, kernel, finish) {
  const scale = image.width / width, spread = Math.max(1, scale), reach = kernel.reach * spread;
  const result = plane(image.height, width);
  for (let column = 0; column < width; column += 1) {
    const middle = scale * (column + 0.5);
    const first = Math.max(0, Math.trunc(middle - reach + 0.5));
    const end = Math.min(image.width, Math.trunc(middle + reach + 0.5));
    const weights = [];
    for (let x = first; x < end; x += 1) weights.push(kernel((x - middle + 0.5) / spread));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    for (let row = 0; row < image.height; row += 1) {
      let sum = 0;
      for (let n = 0; n < weights.length; n += 1)
        sum += weights[n] * image.values[row * image.width + first + n];
      result.values[row * width + column] = finish(sum / total);
    }
  }
  return result;
}
