// Paper to draw on with mouse, pen, finger or keyboard. What is drawn is kept as strokes, not as
// pixels: a list of {width, points: [[x, y], …]} in a square of 280 by 280 units, x to the right
// and y down.
//
// This file knows nothing of notebooks or networks. It is a plain script, without import or export:
// a page includes it with <script src="drawing.js">, and pad.py puts it in front of pad.js.

const SIDE = 280; // units
const DENSITY = 2; // pixels of the canvas for a unit, so that lines are sharp on dense screens
const STEP = 10; // units that a key moves the pen; four times as many with Shift
// Arrows, and the corners of a numeric keypad for slanting lines.
const MOVES = {
  Home: [-1, -1], ArrowUp: [0, -1], PageUp: [1, -1],
  ArrowLeft: [-1, 0], ArrowRight: [1, 0],
  End: [-1, 1], ArrowDown: [0, 1], PageDown: [1, 1],
};
const HELP =
  "Arrow keys move the pen, with Shift further; Home, End, Page Up and Page Down move it " +
  "slantwise. Space or Enter puts it down and lifts it, Escape lifts it. Control and Z undo.";

/** An element with attributes and content: make("button", { type: "button" }, "Undo"). */
function make(kind, attributes = {}, ...content) {
  const element = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...content);
  return element;
}

/**
 * Put paper, buttons and a brush into an element; onChange is called after every change.
 *
 * Returns `strokes`, a copy; `busy`, whether a stroke is being drawn; `load(strokes)`, which puts
 * others on the paper; and `replace(strokes)`, which cannot be undone and calls nothing.
 */
function makeDrawing(element, { onChange = () => {} } = {}) {
  const help = make("p", { id: `drawing-${crypto.getRandomValues(new Uint32Array(1))[0]}` }, HELP);
  const canvas = make("canvas", {
    class: "drawing-paper",
    width: SIDE * DENSITY,
    height: SIDE * DENSITY,
    tabindex: 0,
    role: "application", // so that screen readers hand the arrow keys over
    "aria-label": "Paper to draw on",
    "aria-describedby": help.id,
  });
  canvas.style.touchAction = "none"; // a finger draws, and does not scroll the page
  const undoButton = make("button", { type: "button" }, "Undo");
  const clearButton = make("button", { type: "button" }, "Clear");
  const brush = make("input", { type: "range", min: 8, max: 40, step: 2, value: 20 });
  const tools = make("div", { class: "drawing-tools" }, undoButton, clearButton);
  tools.append(make("label", {}, "Brush", brush));
  const status = make("span", { class: "drawing-hidden", role: "status" });
  const details = make("details", {}, make("summary", {}, "Draw with the keyboard"), help);
  element.append(canvas, tools, details, status);

  let strokes = [];
  let past = []; // earlier lists of strokes, for Undo
  let stroke = null; // the one being drawn
  let pointer = null; // the mouse, pen or finger that draws it
  let pen = null; // [x, y] of the keyboard's pen, while that is used
  const context = canvas.getContext("2d");
  context.scale(DENSITY, DENSITY);
  context.font = "18px system-ui, sans-serif";
  context.textAlign = "center";

  function paint() {
    const penIsSeen = pen && canvas.matches(":focus");
    context.fillStyle = "white";
    context.fillRect(0, 0, SIDE, SIDE);
    context.fillStyle = "#6b6b6b";
    if (!strokes.length && !penIsSeen) context.fillText("Draw here", SIDE / 2, SIDE / 2);
    context.strokeStyle = "#111";
    context.lineCap = context.lineJoin = "round";
    for (const { width, points } of strokes) {
      context.lineWidth = width;
      context.beginPath();
      context.moveTo(...points[0]);
      for (const [x, y] of points) context.lineTo(x + 0.01, y); // so that a tap has a length
      context.stroke();
    }
    if (!penIsSeen) return;
    // A ring, dashed while the pen is lifted, blue within white: seen on paper and on ink.
    context.setLineDash(stroke ? [] : [4, 6]);
    for (const [colour, width] of [["white", 5], ["#0060c0", 2.5]]) {
      [context.strokeStyle, context.lineWidth] = [colour, width];
      context.beginPath();
      context.arc(...pen, brush.value / 2 + 3, 0, 2 * Math.PI);
      context.stroke();
    }
    context.setLineDash([]);
  }

  function change(others = strokes) {
    strokes = others;
    paint();
    onChange();
  }

  function begin(point) {
    past.push(strokes);
    stroke = { width: Number(brush.value), points: [point] };
    change([...strokes, stroke]);
  }

  function extend(points) {
    for (const [x, y] of points) {
      const [lastX, lastY] = stroke.points.at(-1);
      if (Math.hypot(x - lastX, y - lastY) >= 1.5) stroke.points.push([x, y]);
    }
    change();
  }

  function end() {
    if (!stroke) return;
    stroke = null;
    change();
  }

  /** Whether the keyboard's pen is down, read aloud when that changes. */
  function say() {
    const text = stroke ? "Pen down" : "Pen lifted";
    if (status.textContent !== text) status.textContent = text;
  }

  function undo() {
    end();
    if (past.length) change(past.pop());
  }

  function load(others) {
    end();
    if (strokes.length) past.push(strokes);
    change(structuredClone(others));
  }

  function place(event) {
    const box = canvas.getBoundingClientRect();
    const units = (distance) => Math.round((distance * 10 * SIDE) / box.width) / 10;
    return [units(event.clientX - box.left), units(event.clientY - box.top)];
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || pointer !== null) return;
    end();
    pen = null;
    pointer = event.pointerId;
    canvas.setPointerCapture(pointer); // its moves come here even from outside the paper
    begin(place(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pointer || !stroke) return;
    const moves = event.getCoalescedEvents?.() ?? []; // those that the browser merged
    extend((moves.length ? moves : [event]).map(place));
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(kind, (event) => {
      if (event.pointerId !== pointer) return;
      pointer = null;
      end();
    });
  }

  canvas.addEventListener("keydown", (event) => {
    event.stopPropagation(); // a notebook has commands on the same keys
    const command = event.ctrlKey || event.metaKey;
    const undoing = command && event.key.toLowerCase() === "z";
    if (!undoing && (command || event.altKey)) return;
    if (undoing) undo();
    else if (event.key === "Escape") end();
    else if (event.key === " " || event.key === "Enter") {
      pen ??= [SIDE / 2, SIDE / 2];
      if (stroke) end();
      else if (!event.repeat) begin(pen);
    } else if (event.key in MOVES) {
      const step = event.shiftKey ? 4 * STEP : STEP;
      const move = (value, axis) => value + step * MOVES[event.key][axis];
      pen = (pen ?? [SIDE / 2, SIDE / 2]).map(move).map((v) => Math.min(SIDE, Math.max(0, v)));
      if (stroke) extend([pen]);
      else paint();
    } else return;
    event.preventDefault(); // nor does the page scroll
    say();
  });
  canvas.addEventListener("focus", () => {
    if (canvas.matches(":focus-visible")) pen ??= [SIDE / 2, SIDE / 2];
    paint();
  });
  canvas.addEventListener("blur", () => {
    if (pointer === null) end();
    if (pen) say();
    paint();
  });
  undoButton.addEventListener("click", undo);
  clearButton.addEventListener("click", () => load([]));
  paint();

  return {
    get strokes() {
      return structuredClone(strokes);
    },
    get busy() {
      return stroke !== null;
    },
    load,
    replace(others) {
      [strokes, past, stroke] = [structuredClone(others), [], null];
      paint();
    },
  };
}
