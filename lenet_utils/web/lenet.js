// The modified LeNet-5, in plain loops. Maps lie one after the other, each row by row.

const KERNEL = 5;

/** Cut the parameters, one long Float32Array in PyTorch's order, into those of each layer. */
function layersOf(numbers) {
  let used = 0;
  const take = (count) => numbers.subarray(used, (used += count));
  const layer = (inputs, outputs) => ({ weight: take(inputs * outputs), bias: take(outputs) });
  const sizes = [[25, 6], [6 * 25, 16], [16 * 25, 120], [120, 84], [84, 10]];
  const layers = sizes.map(([inputs, outputs]) => layer(inputs, outputs));
  if (used !== numbers.length)
    throw new Error(`expected ${used} parameters, got ${numbers.length}`);
  return layers;
}

/** Convolution and ReLU: maps of side×side → maps of side - 4 by side - 4, one for each bias. */
function convolve(maps, side, { weight, bias }) {
  const smaller = side - KERNEL + 1, count = maps.length / side ** 2;
  const result = new Float32Array(bias.length * smaller ** 2);
  let place = 0;
  for (let map = 0; map < bias.length; map += 1)
    for (let y = 0; y < smaller; y += 1)
      for (let x = 0; x < smaller; x += 1) {
        let sum = bias[map];
        let w = map * count * KERNEL ** 2;
        for (let below = 0; below < count; below += 1)
          for (let row = y; row < y + KERNEL; row += 1)
            for (let column = x; column < x + KERNEL; column += 1)
              sum += weight[w++] * maps[(below * side + row) * side + column];
        result[place++] = Math.max(0, sum);
      }
  return result;
}

/** The largest of each 2×2 square: maps of side×side → maps of half the side. */
function pool(maps, side) {
  const result = new Float32Array(maps.length / 4), half = side / 2;
  for (let place = 0; place < result.length; place += 1) {
    const corner = 2 * (Math.floor(place / half) * side + (place % half));
    const [a, b] = [maps[corner], maps[corner + 1]];
    const [c, d] = [maps[corner + side], maps[corner + side + 1]];
    result[place] = Math.max(a, b, c, d);
  }
  return result;
}

/** Each output is a weighted sum of all inputs, plus its bias. */
function connect(inputs, { weight, bias }) {
  return bias.map((start, output) =>
    inputs.reduce((sum, input, n) => sum + weight[output * inputs.length + n] * input, start));
}

/** Pixels, 32×32 from 0 (paper) to 255 (ink) → what each layer answers, and probabilities. */
function read(pixels, [first, second, third, fourth, fifth], [average, deviation]) {
  const input = Float32Array.from(pixels, (pixel) => (pixel / 255 - average) / deviation);
  const edges = convolve(input, 32, first); // 6 maps of 28×28
  const parts = convolve(pool(edges, 28), 14, second); // 16 maps of 10×10
  const features = convolve(pool(parts, 10), 5, third); // 120 values
  const hidden = connect(features, fourth).map((sum) => Math.max(0, sum)); // 84 values
  const logits = connect(hidden, fifth);
  const powers = logits.map((logit) => Math.exp(logit - Math.max(...logits)));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return { edges, parts, features, hidden, logits, probabilities: powers.map((p) => p / total) };
}
