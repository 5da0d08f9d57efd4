// The page that reads what one draws, and shows what the layers answer, all in the browser.
// lenet_utils/page.py puts the other files and the data (parameters, examples) into it.

const DATA = JSON.parse(document.getElementById("data").textContent);
const BYTES = Uint8Array.from(atob(DATA.parameters), (letter) => letter.charCodeAt(0));
const LAYERS = layersOf(new Float32Array(BYTES.buffer));
const KEPT = 30; // frames whose median time is shown
const LARGEST = 1024; // side to which the browser shrinks a larger picture

/** Strokes → a picture of 280×280, 0 (paper) to 255 (ink), smooth, as pad.py's `drawn` has it. */
function inked(strokes) {
  const values = new Float64Array(SIDE * SIDE);
  for (const { width, points } of strokes)
    points.forEach(([x, y], n) => {
      const [fromX, fromY] = points[Math.max(0, n - 1)];
      const [alongX, alongY] = [x - fromX, y - fromY];
      const length = alongX ** 2 + alongY ** 2 || 1, reach = width / 2 + 1;
      const range = (a, b) => [
        Math.max(0, Math.floor(Math.min(a, b) - reach)),
        Math.min(SIDE - 1, Math.ceil(Math.max(a, b) + reach)),
      ];
      const [left, right] = range(fromX, x), [top, bottom] = range(fromY, y);
      for (let row = top; row <= bottom; row += 1)
        for (let column = left; column <= right; column += 1) {
          const [toX, toY] = [column + 0.5 - fromX, row + 0.5 - fromY];
          const share = clip((toX * alongX + toY * alongY) / length);
          const distance = Math.hypot(toX - share * alongX, toY - share * alongY);
          const ink = 255 * clip(width / 2 - distance + 0.5), place = row * SIDE + column;
          if (ink > values[place]) values[place] = ink;
        }
    });
  return { height: SIDE, width: SIDE, values };
}

/** The maps of a layer, side by side, the largest value of all in full colour; show(values). */
function makeLayer(name, what, count, [width, height], columns) {
  const canvases = Array.from({ length: count }, () => make("canvas", { width, height }));
  const contexts = canvases.map((canvas) => canvas.getContext("2d"));
  const label = `${name} ${what}. The stronger the colour, the larger the value.`;
  const maps = make("div", { class: "page-maps", role: "img", "aria-label": label }, ...canvases);
  maps.style.setProperty("--columns", columns);
  const caption = make("figcaption", {}, make("b", {}, name), ` ${what}`);
  const figure = make("figure", { class: "page-layer" }, caption, maps);
  function show(values) {
    const top = Math.max(...values) || 1;
    const colour = getComputedStyle(maps).color.match(/\d+/g).slice(0, 3).map(Number);
    contexts.forEach((context, map) => {
      const image = context.createImageData(width, height), pixels = width * height;
      for (let place = 0; place < pixels; place += 1) {
        const share = (values[map * pixels + place] ?? 0) / top;
        for (let n = 0; n < 3; n += 1) image.data[4 * place + n] = colour[n];
        image.data[4 * place + 3] = 255 * (0.06 + 0.94 * share);
      }
      context.putImageData(image, 0, 0);
    });
  }
  return { figure, maps, show };
}

function start() {
  const at = (name) => document.getElementById(name);
  const sentence = makeSentence(), input = makeInput(), bars = makeBars();
  const shown = make("div", { class: "page-answer" }, input.figure, bars.list);
  at("answer").append(...sentence.parts, shown);
  const layers = {
    edges: makeLayer("6 maps", "of 28×28, after the first convolution and ReLU", 6, [28, 28], 6),
    parts: makeLayer("16 maps", "of 10×10, after the second convolution and ReLU", 16, [10, 10], 16),
    features: makeLayer("120 values", "after the third convolution", 1, [60, 2], 1),
    hidden: makeLayer("84 values", "after the first linear layer", 1, [42, 2], 1),
  };
  layers.parts.maps.classList.add("page-many");
  for (const { figure } of Object.values(layers)) at("inside").append(figure);

  let asked = false, photograph = null, times = [];

  function answer(pixels) {
    const result = pixels.length ? read(pixels, LAYERS, DATA.normalisation) : {};
    const { probabilities = [] } = result;
    input.show(pixels);
    bars.show(probabilities);
    for (const [name, layer] of Object.entries(layers)) layer.show(result[name] ?? []);
    if (!pixels.length) return "Draw a digit.";
    const largest = Math.max(...probabilities);
    return `The network reads ${probabilities.indexOf(largest)} (${Math.round(100 * largest)} %).`;
  }

  function frame() {
    const begun = performance.now(), strokes = drawing.strokes;
    let text;
    asked = false;
    try {
      const picture = photograph ?? (strokes.length ? inked(strokes) : null);
      text = answer(picture ? prepare(picture) : []);
    } catch (error) {
      answer([]);
      text = error.message;
    }
    sentence.show(text, drawing.busy);
    // The browser lays out and paints after this function, and calls `timed` after that.
    if (strokes.length || photograph) setTimeout(() => timed(performance.now() - begun));
  }

  function timed(milliseconds) {
    times = [...times, milliseconds].slice(-KEPT);
    document.body.dataset.milliseconds = times.at(-1);
    const middle = [...times].sort((a, b) => a - b)[Math.floor(times.length / 2)].toFixed(1);
    at("speed").textContent =
      `From the drawing to all that you see: ${middle} ms (median of ${times.length}; ` +
      "a screen shows a new picture every 16.7 ms).";
  }

  /** At most once for each picture that the screen shows. */
  function ask() {
    if (!asked) requestAnimationFrame(frame);
    asked = true;
  }

  const drawing = makeDrawing(at("paper"), {
    onChange() {
      photograph = null;
      ask();
    },
  });

  const legend = make("legend", {}, "Or take one of ours");
  const examples = make("fieldset", { class: "page-examples" }, legend);
  for (const { label, strokes } of DATA.examples) {
    const called = { type: "button", "aria-label": `Example: ${label}` };
    const button = make("button", called, String(label));
    button.addEventListener("click", () => drawing.load(strokes));
    examples.append(button);
  }
  const file = make("input", { type: "file", accept: "image/*", hidden: "" });
  const open = make("button", { type: "button", class: "page-open" }, "Open a photograph");
  open.addEventListener("click", () => file.click());
  file.addEventListener("change", async () => {
    const [chosen] = file.files;
    file.value = ""; // the same may be chosen again
    if (!chosen) return;
    try {
      const bitmap = await createImageBitmap(chosen);
      const factor = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
      const side = (pixels) => Math.max(1, Math.round(factor * pixels));
      const [width, height] = [side(bitmap.width), side(bitmap.height)];
      const context = make("canvas", { width, height }).getContext("2d");
      context.drawImage(bitmap, 0, 0, width, height);
      drawing.load([]);
      const { data: values } = context.getImageData(0, 0, width, height);
      photograph = { height, width, channels: 4, values };
      ask();
    } catch {
      sentence.show("This file is no picture that the browser can read.");
    }
  });
  examples.append(open, file);
  at("examples").append(examples);

  const theme = at("theme"), dark = matchMedia("(prefers-color-scheme: dark)");
  const { style } = document.documentElement;
  const isDark = () => (style.colorScheme || (dark.matches ? "dark" : "light")) === "dark";
  function recolour() {
    theme.textContent = isDark() ? "Light colours" : "Dark colours";
    ask(); // the maps have colours of their own
  }
  theme.addEventListener("click", () => {
    style.colorScheme = isDark() ? "light" : "dark";
    recolour();
  });
  dark.addEventListener("change", recolour);
  recolour();
  // The first frames of a program are slow, until the browser has compiled it: not the reader's.
  setTimeout(() => {
    for (const { strokes } of DATA.examples)
      read(prepare(inked(strokes)), LAYERS, DATA.normalisation);
  });
}

start();
