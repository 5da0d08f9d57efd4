// What the network answers, and what it was given: for the pad in a notebook, and for the page.

const INPUT = 32; // side of what the network reads, in pixels

/** What is said of the drawing: show(text, busy), `busy` while a stroke is being drawn. */
function makeSentence() {
  // Two of the same: the eye gets it at once, a screen reader when a stroke is finished.
  const seen = make("p", { class: "pad-sentence", "aria-hidden": "true" });
  const spoken = make("p", { class: "drawing-hidden", "aria-live": "polite" });
  function show(text, busy = false) {
    seen.textContent = text;
    if (!busy && spoken.textContent !== text) spoken.textContent = text;
  }
  return { parts: [seen, spoken], show };
}

/** Ten bars, each with its digit and, as text, its percentage; show(probabilities) sets them. */
function makeBars() {
  const rows = Array.from({ length: 10 }, (_, digit) => {
    const bar = make("span", { class: "pad-bar" });
    const share = make("span", { class: "pad-share" });
    const track = make("span", { class: "pad-track", "aria-hidden": "true" }, bar);
    return { bar, share, row: make("li", {}, make("b", {}, String(digit)), track, share) };
  });
  const list = make("ul", { class: "pad-bars", "aria-label": "Probability of each digit" });
  list.append(...rows.map(({ row }) => row));
  function show(probabilities) {
    const most = Math.max(...probabilities);
    rows.forEach(({ bar, share, row }, digit) => {
      const probability = probabilities[digit] ?? 0;
      bar.style.width = `${100 * probability}%`;
      share.textContent = probabilities.length ? `${Math.round(100 * probability)} %` : "";
      row.classList.toggle("pad-most", probability === most);
    });
  }
  return { list, show };
}

/** What the network gets, enlarged by the style sheet; show(pixels) takes 0 (paper) to 255. */
function makeInput() {
  const label = "The drawing as the network gets it, 32 by 32 pixels";
  const canvas = make("canvas", { width: INPUT, height: INPUT, role: "img", "aria-label": label });
  const context = canvas.getContext("2d");
  function show(pixels) {
    const image = context.createImageData(INPUT, INPUT);
    image.data.fill(255);
    pixels.forEach((ink, place) => image.data.fill(255 - ink, 4 * place, 4 * place + 3));
    context.putImageData(image, 0, 0);
  }
  const caption = make("figcaption", {}, "What the network gets");
  return { figure: make("figure", {}, canvas, caption), show };
}
