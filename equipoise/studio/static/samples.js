/**
 * Samples of the clock's step: the grid, the reals next to it, one sample over time and its nearest training pictures.
 * @module
 */
import { get, latest, request, runPath, url } from "./api.js";
import { button, closeDialog, fill, h, number, openDialog, panel, segmented } from "./dom.js";

const LIMIT = 64, HISTORY = 8;
/** Milliseconds without a change of the clock. */
const REST = 400;

/**
 * Load a picture, so that an error of the server can be shown in words.
 * @param {HTMLImageElement} image
 * @param {string} address
 * @param {AbortSignal} signal
 */
async function showPicture(image, address, signal) {
  const content = await (await request(address, { signal })).blob();
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(content);
  image.hidden = false;
}

/** @param {string} id @param {import("./clock.js").Clock} clock */
export function createSamples(id, clock) {
  /** @type {SampleItem[]} */
  let items = [];
  let selected = -1, wanted = "", view = "samples";

  const picture = h("img", { class: "pixels sheet", alt: "" });
  const cell = h("div", { class: "cell", hidden: true });
  const grid = h("div", { class: "sheet-box", tabindex: 0, role: "group", "aria-label": "Grid of samples. Arrow keys choose a sample.",
      onclick: choose, onkeydown: move }, picture, cell);
  const reals = h("img", { class: "pixels sheet", alt: "Real samples of the training data", hidden: true });
  const realsCaption = h("figcaption", { class: "muted" }, "Loading the reals …");
  const realsBox = h("figure", { hidden: true }, reals, realsCaption);
  const neighbours = h("img", { class: "pixels", alt: "", hidden: true });
  const neighboursCaption = h("small", { class: "muted", role: "status" });
  const caption = h("figcaption", { class: "muted" });
  const texts = h("ol", { class: "texts", tabindex: 0, hidden: true });
  const close = h("section", { class: "stack closeup", "aria-label": "Chosen sample", hidden: true });
  const large = button("Enlarge", enlarge, "small", { title: "Show the grid in the whole window" });
  const sheets = h("div", { class: "sheets" }, h("figure", {}, grid, texts, caption), realsBox);
  const empty = h("p", { class: "empty" }, "No samples yet.");
  const element = panel("Samples", [segmented("Show", { samples: "Samples", both: "Both", reals: "Reals" }, view,
    (value) => { view = value; show(); }), large], sheets, empty, close);
  const unsubscribe = clock.subscribe((changed) => { if (changed.has("step")) show(); });

  const loadReals = latest(async (/** @type {string} */ address, signal) => {
    await showPicture(reals, address, signal);
    fill(realsCaption, "reals");
  }, (error) => fill(realsCaption, error.message));
  const loadTexts = latest(async (/** @type {string} */ address, signal) => {
    fill(texts, /** @type {string[]} */ ((await get(address, {}, signal)).texts).map((text) => h("li", {}, text)));
  }, (error) => fill(texts, h("li", { class: "error" }, error.message)));
  // The search takes long, so that it waits until the clock stands still.
  const loadNeighbours = latest(async (/** @type {string} */ address, signal) => {
    await new Promise((resolve) => setTimeout(resolve, REST));
    if (signal.aborted) return;
    neighbours.alt = `Training samples nearest to sample ${selected}`;
    await showPicture(neighbours, address, signal);
    fill(neighboursCaption, "Nearest training samples");
  }, (error) => fill(neighboursCaption, `Nearest training samples: ${error.message}`));

  /** The last samples up to the clock's step. */
  function current() {
    return items.findLast((item) => item.step <= clock.step) ?? items[0];
  }

  /** @param {SampleItem} item */
  function layout(item) {
    const columns = Math.min(item.columns ?? Math.ceil(Math.sqrt(Math.min(item.count, LIMIT))), item.count);
    const count = Math.min(item.count, Math.max(1, Math.floor(LIMIT / columns)) * columns);
    return { count, columns, rows: Math.ceil(count / columns) };
  }

  function show() {
    const item = current();
    empty.hidden = !!item;
    sheets.hidden = !item;
    const isText = item?.kind === "text";
    large.disabled = !item || isText;
    if (!item) return;
    const { columns, count: limit } = layout(item), path = runPath(id, `/samples/${item.step}`);
    const address = isText ? `${path}/texts` : url(`${path}.png`, { columns, limit });
    fill(caption, `step ${number(item.step)}`,
      item.step !== clock.step && item.step !== clock.state.last ? `, the last before ${number(clock.step)}` : "");
    realsBox.hidden = view === "samples";
    grid.parentElement?.toggleAttribute("hidden", view === "reals");
    if (view !== "samples" && !reals.src) loadReals(url(runPath(id, "/reals.png"), { columns, limit }));
    grid.hidden = isText;
    texts.hidden = !isText;
    if (address === wanted) return;
    wanted = address;
    if (isText) {
      texts.setAttribute("aria-label", `Samples of step ${item.step}`);
      return void loadTexts(address);
    }
    const next = new Image();
    next.onload = () => {
      if (wanted === address) Object.assign(picture, { src: address, alt: `Samples of step ${item.step}` });
    };
    next.src = address;
    if (selected >= 0) showSelected();
  }

  /** @param {MouseEvent} event */
  function choose(event) {
    const item = current(), box = picture.getBoundingClientRect();
    if (!item) return;
    const { columns, rows, count } = layout(item), column = Math.floor(((event.clientX - box.left) / box.width) * columns),
      row = Math.floor(((event.clientY - box.top) / box.height) * rows);
    select(Math.min(Math.max(row, 0) * columns + Math.max(column, 0), count - 1));
  }

  /** @param {KeyboardEvent} event */
  function move(event) {
    const item = current();
    if (!item) return;
    const { columns, count } = layout(item);
    if (event.key === "Escape") return select(-1);
    const change = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Enter: 0 }[event.key];
    if (change === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    select(Math.min(Math.max(selected + change, 0), count - 1));
  }

  /** @param {number} index index of a sample; -1: none */
  function select(index) {
    selected = index;
    showSelected();
  }

  function showSelected() {
    const item = current();
    cell.hidden = close.hidden = selected < 0 || !item;
    if (!item || selected < 0) return;
    const { columns, rows } = layout(item);
    const left = (selected % columns) / columns, top = Math.floor(selected / columns) / rows;
    const place = { left, top, width: 1 / columns, height: 1 / rows };
    for (const [name, share] of Object.entries(place)) cell.style.setProperty(name, `${share * 100}%`);
    const past = items.filter(({ step }) => step <= item.step), count = Math.min(HISTORY, past.length);
    const history = Array.from({ length: count }, (_, index) => past[Math.round((index * (past.length - 1)) / Math.max(1, count - 1))]);
    fill(neighboursCaption, "Nearest training samples: searching …");
    neighbours.hidden = true;
    loadNeighbours(url(runPath(id, "/neighbours"), { step: item.step, index: selected }));
    fill(close, h("header", { class: "toolbar" }, h("h3", {}, `Sample ${selected}`), h("span", { class: "grow" }),
      h("a", { class: "button small", href: `#/explore/${encodeURIComponent(id)}?step=${item.step}` }, "Explore this step"),
      button("✕", () => select(-1), "quiet small", { "aria-label": "Close" })),
    h("small", { class: "muted" }, "The same latent over time"),
    h("div", { class: "strip" },
      history.map(({ step }) =>
        button([h("img", { class: "pixels", alt: "", src: url(runPath(id, `/samples/${step}/${selected}.png`), { scale: 4 }) }),
          h("small", {}, number(step))], () => clock.update({ step, follow: false }), "",
        { title: `step ${step}`, "aria-label": `Go to step ${step}` }))),
    neighboursCaption, neighbours);
  }

  function enlarge() {
    openDialog("Samples", [h("div", { class: "toolbar" }, h("h2", {}, picture.alt), h("span", { class: "grow" }),
      button("Close", closeDialog)),
    h("div", { class: "sheets" }, [picture, reals].map((image) => image.src && !image.hidden
      && h("img", { class: "pixels sheet", alt: image.alt, src: image.src })))], "large");
  }

  return {
    element,
    get steps() { return items.map((item) => item.step); },
    /** @param {SampleItem[]} next */
    update(next) { items = next; show(); },
    destroy: unsubscribe,
  };
}
