// The pad in a notebook: sends the strokes to Python, shows what comes back. pad.py puts
// drawing.js and answer.js in front of this file.

const PATIENCE = 2000; // milliseconds to wait for an answer before the next drawing is sent

function render({ model, el }) {
  const paper = make("div", { class: "pad-paper" });
  const sentence = makeSentence(), input = makeInput(), bars = makeBars();
  const label = make("select", {}, make("option", { value: "" }, "–"));
  for (let digit = 0; digit < 10; digit += 1) label.append(make("option", {}, String(digit)));
  const keep = make("button", { type: "button" }, "Keep");
  const kept = make("span", { role: "status" });
  const form = make("div", { class: "pad-keep" }, make("label", {}, "It is a", label), keep, kept);
  const answer = make("div", { class: "pad-answer" });
  answer.append(...sentence.parts, input.figure, bars.list);
  const root = make("div", { class: "pad" });
  root.append(paper, answer, form);
  el.append(root);

  // At most one drawing is under way. What is drawn meanwhile is sent, as it is by then, when the
  // answer has come: a slow kernel never gets a queue.
  let sent = null; // {number, time, timer} of the drawing without an answer
  let more = false; // whether something was drawn since
  let mine = 0; // number of the last drawing from this view
  function send() {
    more = sent !== null;
    if (more) return;
    mine = model.get("drawing").number + 1;
    sent = { number: mine, time: performance.now(), timer: setTimeout(next, PATIENCE) };
    model.set("drawing", { number: mine, strokes: drawing.strokes });
    model.save_changes();
  }
  function next() {
    clearTimeout(sent?.timer);
    sent = null;
    if (more) send();
  }

  function show() {
    const { number, text, image, probabilities, kept: count } = model.get("answer");
    bars.show(probabilities);
    input.show(image);
    if (kept.textContent !== count) kept.textContent = count;
    if (sent && number >= sent.number) {
      const { time } = sent;
      const painted = () => (root.dataset.milliseconds = (performance.now() - time).toFixed(1));
      requestAnimationFrame(() => setTimeout(painted)); // after the browser has painted the bars
      next();
    }
    sentence.show(text, sent !== null || drawing.busy);
  }

  /** Another view of the same pad, or Python, has changed the drawing. */
  function follow() {
    const { number, strokes } = model.get("drawing");
    if (number !== mine) drawing.replace(strokes);
  }

  const drawing = makeDrawing(paper, { onChange: send });
  keep.addEventListener("click", () => {
    const strokes = drawing.strokes;
    if (!strokes.length) {
      kept.textContent = "Draw a digit first";
      return;
    }
    model.send({ label: label.value === "" ? null : Number(label.value), strokes });
    label.value = ""; // the next drawing may be another digit
    drawing.replace([]);
    send();
  });
  // JupyterLab has commands on single keys; this says of what may have the focus: not here.
  for (const control of root.querySelectorAll("canvas, button, input, select, summary")) {
    control.setAttribute("data-lm-suppress-shortcuts", "true");
  }
  model.on("change:answer", show);
  model.on("change:drawing", follow);
  follow();
  show();

  return () => {
    clearTimeout(sent?.timer);
    model.off("change:answer", show);
    model.off("change:drawing", follow);
    root.remove();
  };
}

export default { render };
