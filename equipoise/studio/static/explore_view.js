/**
 * The latent space of a run: a plane to drag, samples by name, interpolation, style mixing, directions, arithmetic,
 * prompts, translation and projection. Of all requests at most one is under way, and the newest is the next.
 * @module
 */
import { coalesce, get, post, postRaw, runPath } from "./api.js";
import { announce } from "./clock.js";
import { field, fill, h, notify, number, panel, prefersStill, segmented, setAttributes } from "./dom.js";
import { choice, copyable, download, dropZone, slider } from "./inputs.js";

/**
 * @typedef {object} Facts what acts in the model
 * @property {number} step
 * @property {number[]} steps
 * @property {string} model
 * @property {"image" | "text" | "sequence" | "point"} samples
 * @property {number[]} shape
 * @property {string[]} samplings
 * @property {number} layers
 * @property {number} classes
 * @property {string[]} class_names
 * @property {boolean} prompt
 * @property {string[]} captions
 * @property {boolean} translate
 * @property {boolean} back
 * @property {boolean} project
 */
/**
 * @typedef {object} Mode body null: nothing to request; single: one sample, whose latents can be saved
 * @property {import("./dom.js").Children} controls
 * @property {() => Record<string, unknown> | null} body
 * @property {() => boolean} [single]
 * @property {boolean} [film]
 * @property {() => void} [end]
 */

const GAP = 2, COMPONENTS = 8, MOST_COLLECTED = 32, POLL = 1000;
const CAPTIONED = ["mix", "directions", "project"];
/** Pictures of fewer pixels in a row are enlarged without smoothing. */
const SHARP = 700;
const CLIENT = String(Math.random()).slice(2);
/** @type {Record<string, string>} */
const MARKS = { keep: "good", flaw: "flaw", copy: "copy of a training sample" };

/** @type {Record<string, {title: string, acts: (facts: Facts) => boolean, open: (view: ExploreView) => Mode}>} */
const MODES = {
  plane: { title: "Plane", acts: ({ translate, samples }) => !translate && samples !== "text", open: planeMode },
  grid: { title: "Samples", acts: ({ translate }) => !translate, open: gridMode },
  interpolate: { title: "Interpolate", acts: ({ translate }) => !translate, open: interpolateMode },
  directions: { title: "Directions", acts: ({ translate }) => !translate, open: directionsMode },
  mix: { title: "Mix styles", acts: ({ layers, samples }) => layers > 1 && samples === "image", open: mixMode },
  arithmetic: { title: "Arithmetic", acts: ({ translate }) => !translate, open: arithmeticMode },
  translate: { title: "Translate", acts: ({ translate }) => translate, open: translateMode },
  project: { title: "Find a picture", acts: ({ project }) => project, open: projectMode },
};

/** @param {HTMLElement} root @param {import("./main.js").Params} params */
export async function mount(root, { id, query }) {
  fill(root, h("p", { class: "empty", role: "status" }, "Loading the generator: the first time takes some seconds…"));
  const step = query.get("step");
  const view = new ExploreView(id, await get(`/api/explore/${encodeURIComponent(id)}`, { step }), step ?? "");
  fill(root, view.element);
  view.open(query.get("view") ?? "");
  return () => view.end();
}

/** A step as the explorer takes it; null: the final weights. @param {string} text */
const stepOf = (text) => (/^\d+$/.test(text) ? Number(text) : text || null);

class ExploreView {
  kind = "";
  mode = /** @type {Mode | null} */ (null);
  label = /** @type {number | null} */ (null);
  sampling = /** @type {Record<string, string | number>} */ ({});
  /** The input for names that was used last. */
  target = /** @type {HTMLInputElement | null} */ (null);
  blob = new Blob();
  abort = new AbortController();
  tabs = h("div", {});
  picture = h("img", { class: "pixels wide", alt: "", draggable: "false" });
  text = h("pre", { hidden: true, tabindex: 0, "aria-label": "Generated samples" });
  place = h("div", {});
  problem = h("p", { class: "error", role: "alert", hidden: true });
  controls = h("div", { class: "stack" });
  shelf = h("ul", { class: "shelf" });
  captures = h("div", { class: "stack" });

  /** @param {string} id @param {Facts} facts @param {string} step */
  constructor(id, facts, step) {
    this.id = id;
    this.facts = facts;
    this.step = stepOf(step);
    this.refresh = coalesce(async () => this.show(await this.request()), (error) => this.fail(error), 0);
    this.modes = Object.fromEntries(Object.entries(MODES).filter(([, { acts }]) => acts(facts)).map(([name, { title }]) => [name, title]));
    const steps = [["", "Final weights"], ["best", "Best by the metric"], ["chosen", "Chosen"],
      ...facts.steps.map((each) => [String(each), `Step ${number(each)}`])];
    const path = encodeURIComponent(id);
    this.element = [h("div", { class: "title" }, h("h1", {}, "Explore ", h("a", { href: `#/run/${path}` }, id)),
      choice(/** @type {[string, string][]} */ (steps), step, (text) => { this.step = stepOf(text); this.refresh(); },
        { "aria-label": "Weights" }), h("a", { href: `#/judge/${path}` }, "Judge two steps")),
    this.tabs, h("div", { class: "explore-columns" }, h("section", { class: "panel", "aria-label": "Picture" }, this.place, this.problem),
      h("div", { class: "stack" }, panel("Controls", null, this.controls), this.samplingPanel(), panel("Shelf", null, this.shelf),
        panel("Capture", null, this.captures)))];
  }

  /** @param {string} name */
  open(name) {
    this.mode?.end?.();
    this.mode = null;
    this.target = null;
    this.kind = name in this.modes ? name : Object.keys(this.modes)[0];
    fill(this.tabs, segmented("What to explore", this.modes, this.kind, (next) => this.open(next)));
    const old = this.place;
    old.replaceWith(this.place = h("div", { class: "picture-place" }, this.picture, this.text));
    this.mode = MODES[this.kind].open(this);
    fill(this.controls, this.mode.controls);
    this.drawShelf();
    this.refresh();
  }

  end() {
    this.mode?.end?.();
    this.mode = null;
    this.abort.abort();
    URL.revokeObjectURL(this.picture.src);
  }

  /** Controls of what acts on how samples are drawn; without a change, samples are as the model was trained. */
  samplingPanel() {
    const { facts, sampling } = this;
    /** @param {string} name @param {string | number} value @param {string | number} neutral */
    const set = (name, value, neutral) => {
      sampling[name] = value;
      if (value === neutral) delete sampling[name];
      if (sampling.psi === undefined) delete sampling.cutoff;
      this.refresh();
    };
    const acts = (/** @type {string} */ name) => facts.samplings.includes(name);
    /**
     * @param {string} name
     * @param {string} label
     * @param {number} low
     * @param {number} high
     * @param {number} step
     * @param {number} neutral
     * @param {string} help
     */
    const range = (name, label, low, high, step, neutral, help) => acts(name)
      && slider(label, { low, high, step, value: neutral, help }, (value) => set(name, value, neutral)).element;
    /** @param {string} name @param {string} label @param {string[]} options */
    const select = (name, label, options) => acts(name)
      && field(label, choice([["", "as trained"], ...options], "", (value) => set(name, value, "")));
    const classes = Array.from({ length: facts.classes },
      (_, index) => /** @type {[string, string]} */ ([String(index), facts.class_names[index] ?? String(index)]));
    const controls = [
      facts.classes > 0 && field("Class",
        choice([["", "each in turn"], ...classes], "", (text) => { this.label = text === "" ? null : Number(text); this.refresh(); })),
      range("psi", "psi", 0, 2, 0.05, 1, "1 changes nothing, 0 is the mean sample"),
        range("cutoff", "Layers that psi acts on", 1, Math.max(1, facts.layers), 1, facts.layers, "the first ones"),
      range("truncation", "Truncation", 0.1, 4, 0.1, 4, "latents within ±T; 4: as trained"), select("noise", "Noise", ["fixed", "none"]),
      range("steps", "Steps of the sampler", 0, 100, 1, 0, "0: as trained"),
        range("guidance", "Guidance", 0, 8, 0.1, 1, "1 changes nothing"),
        select("sampler", "Sampler", ["heun", "dpm_2m", "ddim", "ancestral"]),
    ].filter(Boolean);
    return controls.length > 0 && panel("Sampling", null, h("div", { class: "stack" }, controls));
  }

  /** @param {Record<string, unknown>} [extra] */
  async request(extra = {}) {
    const body = this.mode?.body();
    return body ? postRaw("/api/explore",
      { run: this.id, step: this.step, client: CLIENT, label: this.label, sampling: this.sampling, kind: this.kind, ...body, ...extra },
      this.abort.signal) : null;
  }

  /** @param {Response | null} response a picture or lines of text, and the command that makes it again */
  async show(response) {
    if (!response) return;
    this.blob = await response.blob();
    const isText = this.blob.type.startsWith("text"), old = this.picture.src;
    this.text.hidden = !isText;
    this.picture.hidden = isText;
    if (isText) this.text.textContent = await this.blob.text();
    else {
      this.picture.src = URL.createObjectURL(this.blob);
      this.picture.alt = `Generated by ${this.id}: ${this.modes[this.kind]}`;
      await this.picture.decode().catch(() => {});
      const isCaptioned = CAPTIONED.includes(this.kind) && !this.mode?.single?.();
      this.picture.classList.toggle("pixels", !isCaptioned && this.picture.naturalWidth < SHARP);
      URL.revokeObjectURL(old);
    }
    this.problem.hidden = true;
    this.drawCaptures(decodeURIComponent(response.headers.get("X-Equipoise-Command") ?? ""));
  }

  /** @param {Error & {status?: number}} error */
  fail(error) {
    if (this.abort.signal.aborted || error.status === 409) return;
    fill(this.problem, error.message);
    this.problem.hidden = false;
  }

  /** @param {string} command "" if none makes this picture */
  drawCaptures(command) {
    if (this.captures.dataset.command === `${this.kind} ${command}`) return;
    this.captures.dataset.command = `${this.kind} ${command}`;
    const name = `${this.id}-${this.kind}`, ending = this.text.hidden ? "png" : "txt";
    const save = (/** @type {"film" | "latents"} */ what, /** @type {string} */ suffix) =>
      h("button", { type: "button", onclick: async () => {
      try {
        const response = await this.request({ save: what, client: `${CLIENT}-${what}` });
        if (response) download(await response.blob(), `${name}.${suffix}`);
      } catch (error) { this.fail(/** @type {Error} */ (error)); }
    } }, `Save ${what}`);
    fill(this.captures, h("div", { class: "toolbar" },
      h("button", { type: "button", onclick: () => download(this.blob, `${name}.${ending}`) }, `Save ${ending.toUpperCase()}`),
      this.mode?.film && save("film", "mp4"), this.mode?.single?.() && save("latents", "safetensors")),
      command ? copyable(command) : h("p", { class: "muted" }, "No single command makes this picture again."));
  }

  /** Names of samples that were collected in this tab. @returns {string[]} */
  get collected() { return JSON.parse(sessionStorage.getItem(`shelf ${this.id}`) ?? "[]"); }
  set collected(names) {
    sessionStorage.setItem(`shelf ${this.id}`, JSON.stringify(names.slice(-MOST_COLLECTED)));
    this.drawShelf();
  }

  /** @param {string} name */
  collect(name) {
    this.collected = [...new Set([...this.collected, name])];
    announce(`Sample ${name} is on the shelf`);
  }

  drawShelf() {
    const { collected: names, target } = this;
    const use = (/** @type {string} */ name) => {
      if (target) target.value = [...namesOf(target.value), name].join(", ");
      this.refresh();
    };
    fill(this.shelf, names.length === 0
      && h("li", { class: "muted" },
        "Click on samples in a grid to collect their names; a click on a name here adds it to the field that you used last."),
      names.map((name) => h("li", { class: "chip" },
        h("button", { type: "button", class: "quiet small", title: "Add to the field used last", disabled: !target,
          onclick: () => use(name) }, name),
        h("button", { type: "button", class: "quiet small", "aria-label": `Remove ${name}`,
          onclick: () => { this.collected = names.filter((other) => other !== name); } }, "✕"))));
  }

  /** An input for names of samples. @param {string} label @param {string} value @param {string} [help] */
  names(label, value, help = "") {
    const input = h("input",
      { type: "text", value, spellcheck: "false", placeholder: "0/3, 7/12", oninput: this.refresh,
        onfocus: () => { this.target = input; this.drawShelf(); } });
    this.target ??= input;
    return { element: field(label, input, help), names: () => namesOf(input.value) };
  }

  /** An input for a whole number of the request. @param {string} label @param {Record<string, any>} state @param {string} key */
  number(label, state, key) {
    const input = h("input",
      { type: "number", min: 0, value: state[key],
        oninput: () => { if (input.validity.valid && input.value) { state[key] = input.valueAsNumber; this.refresh(); } } });
    return { element: field(label, input),
      set: (/** @type {number} */ value) => { input.value = String(state[key] = value); this.refresh(); } };
  }

  /** How a picture of another size is brought to that of the model. @param {{fit: string | null}} state @param {string[]} ways */
  fit(state, ways) {
    const options = /** @type {[string, string][]} */ (ways.map((way) => [way, way]));
    return field("If its size differs",
      choice(state.fit ? options : [["", "as in training"], ...options], state.fit ?? "",
        (way) => { state.fit = way || null; this.refresh(); }));
  }

  /** @param {string} label @param {Record<string, any>} state @param {string} key */
  check(label, state, key) {
    return h("label", { class: "check" },
      h("input", { type: "checkbox",
        onchange: (/** @type {any} */ event) => { state[key] = event.target.checked; this.refresh(); } }), label);
  }
}

/** @param {string} text names of samples: SEED/NUMBER, or @JOB */
const namesOf = (text) => text.split(/[\s,;]+/).filter(Boolean);
const randomNumber = (/** @type {number} */ most) => Math.floor(Math.random() * most);
const button = (/** @type {string} */ text, /** @type {() => void} */ onclick) => h("button", { type: "button", onclick }, text);

/** A plane of seeds: seed x + 100 y at whole numbers, mixed between. @param {ExploreView} view @returns {Mode} */
function planeMode(view) {
  const at = { x: 0, y: 0, size: 1 }, { place } = view, shown = h("output", { class: "mono" });
  /** @type {{px: number, py: number, x: number, y: number} | null} */
  let held = null;
  let drifting = false;
  /** @param {number} x @param {number} y */
  const move = (x, y) => {
    Object.assign(at, { x: Number(x.toFixed(3)), y: Number(y.toFixed(3)) });
    fill(shown, `x ${at.x.toFixed(2)}  y ${at.y.toFixed(2)}`);
    view.refresh();
  };
  setAttributes(place, { class: "picture-place plane", tabindex: "0", role: "group",
    "aria-label": "Plane of latents: drag it, or press arrow keys; with Shift whole seeds" });
  place.onpointerdown = (event) => { place.setPointerCapture(event.pointerId); held = { px: event.clientX, py: event.clientY, x: at.x,
    y: at.y }; };
  place.onpointerup = place.onpointercancel = () => { held = null; };
  place.onpointermove = (event) => {
    const scale = at.size / Math.max(1, view.picture.clientWidth);
    if (held) move(held.x - (event.clientX - held.px) * scale, held.y - (event.clientY - held.py) * scale);
  };
  place.onkeydown = (event) => {
    const [dx, dy] = /** @type {Record<string, number[]>} */ ({ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1],
      ArrowDown: [0, 1] })[event.key] ?? [0, 0];
    if (!dx && !dy) return;
    event.preventDefault();
    if (event.shiftKey) move(Math.round(at.x) + dx, Math.round(at.y) + dy);
    else move(at.x + dx / 10, at.y + dy / 10);
    announce(`x ${at.x.toFixed(1)}, y ${at.y.toFixed(1)}`);
  };
  const drift = h("button",
    { type: "button", hidden: prefersStill(), "aria-pressed": "false",
      onclick: () => { drifting = !drifting; drift.setAttribute("aria-pressed", String(drifting)); glide(); } }, "Drift");
  const glide = () => { if (drifting) { move(at.x + 0.012, at.y + 0.005); requestAnimationFrame(glide); } };
  const seed = () => Math.round(at.x) + 100 * Math.round(at.y);
  move(0, 0);
  return { body: () => ({ x: at.x, y: at.y, rows: at.size, columns: at.size }), single: () => at.size === 1,
    end: () => { drifting = false; }, controls: [
    h("p", { class: "muted" }, "Drag the picture. At whole numbers x, y it is seed x + 100 y; between them latents are mixed."),
    h("div", { class: "toolbar" }, shown,
      segmented("Pictures", { 1: "1", 3: "3 × 3", 5: "5 × 5" }, "1", (size) => { at.size = Number(size); view.refresh(); })),
    h("div", { class: "toolbar" }, button("Snap", () => move(Math.round(at.x), Math.round(at.y))),
      button("Jump", () => move(randomNumber(100), randomNumber(100))), button("Reset", () => move(0, 0)), drift,
      button("Collect", () => { if (seed() >= 0) view.collect(`${seed()}/0`); }))] };
}

/** A grid of samples of a seed, or of a prompt; a click collects one, and it can be marked. @param {ExploreView} view @returns {Mode} */
function gridMode(view) {
  const state = { seed: 0, count: 36 }, { facts, picture, place } = view;
  const marked = h("div", { class: "toolbar", "aria-live": "polite" });
  const seed = view.number("Seed", state, "seed");
  const prompt = h("input", { type: "text", maxlength: 400, placeholder: facts.captions[0], oninput: view.refresh });
  /** @param {string} sample @param {string} answer */
  const mark = async (sample, answer) => {
    try {
      await post(runPath(view.id, "/labels"),
        { kind: "mark", sample, step: typeof view.step === "number" ? view.step : facts.step, answer });
      notify(`${sample}: ${MARKS[answer] ?? "no mark"}`, answer === "none" ? {} : { action: ["Undo", () => mark(sample, "none")] });
    } catch (error) { view.fail(/** @type {Error} */ (error)); }
  };
  const select = (/** @type {number} */ index) => {
    const name = `${state.seed}/${index}`;
    view.collect(name);
    fill(marked, h("strong", {}, name), Object.entries(MARKS).map(([answer, text]) => button(`Mark: ${text}`, () => mark(name, answer))));
  };
  place.onclick = ({ offsetX, offsetY, target }) => {
    const scale = picture.naturalWidth / Math.max(1, picture.clientWidth), [, height = 0, width = 0] = facts.shape,
      columns = Math.ceil(Math.sqrt(state.count));
    const [column, row] = [Math.floor((offsetX * scale) / (width + GAP)), Math.floor((offsetY * scale) / (height + GAP))];
    if (target === picture && facts.samples === "image" && column < columns
      && row * columns + column < state.count) select(row * columns + column);
  };
  return { body: () => (facts.prompt && prompt.value.trim() ? { kind: "prompt", prompt: prompt.value.trim(), ...state }
    : { ...state }), controls: [
    facts.prompt && [field("What the samples show", prompt),
      h("div", { class: "toolbar" },
        facts.captions.map((caption) =>
          h("button", { type: "button", class: "chip", onclick: () => { prompt.value = caption; view.refresh(); } }, caption)))],
    h("div", { class: "toolbar bottom" }, seed.element,
      field("Samples", choice(["16", "36", "64", "144"], "36", (count) => { state.count = Number(count); view.refresh(); })),
      button("Another seed", () => seed.set(randomNumber(10000)))),
    field("Sample by its number",
      h("input", { type: "number", min: 0, max: 255, onchange: (/** @type {any} */ event) => select(event.target.valueAsNumber || 0) }),
      "Or click on it in the picture."), marked] };
}

/** @param {ExploreView} view @returns {Mode} */
function interpolateMode(view) {
  const [a = "0/0", b = "1/0"] = view.collected, state = { length: 9 }, film = view.facts.samples === "image";
  const start = view.names("From", a), end = view.names("To", b);
  return { film, body: () => ({ ...state, start: start.names(), end: end.names() }), controls: [start.element, end.element,
    slider("Pictures in a row", { low: 2, high: 24, step: 1, value: 9 }, (length) => { state.length = length; view.refresh(); }).element,
      h("p", { class: "muted" }, `Several names give several rows.${film ? " The film goes there and back." : ""}`)] };
}

/** @param {ExploreView} view @returns {Mode} */
function mixMode(view) {
  const rows = view.names("Rows give these layers", "0/0, 0/1, 0/2"), columns = view.names("Columns give all others", "1/0, 1/1, 1/2, 1/3");
  const high = view.facts.layers - 1, layers = [0, Math.floor(high / 2)];
  const bars = ["First layer", "Last layer"].map((label, end) => slider(label, { low: 0, high, step: 1, value: layers[end] }, (value) => {
    layers[end] = value;
    if (layers[0] > layers[1]) bars[1 - end].set((layers[1 - end] = value));
    view.refresh();
  }));
  return { body: () => ({ rows: rows.names(), columns: columns.names(), layers }),
    controls: [rows.element, columns.element, bars.map(({ element }) => element),
      h("p", { class: "muted" }, "First layers: shape and pose. Last layers: colour and texture.")] };
}

/** @param {ExploreView} view @returns {Mode} */
function directionsMode(view) {
  const hasStyles = view.facts.layers > 0, place = h("div", { class: "stack" });
  const state = { source: hasStyles ? "components" : "labels", amounts: /** @type {number[] | null} */ (null) };
  const start = view.names("Start from", view.collected[0] ?? (hasStyles ? "0/0" : ""), "Empty: the middle.");
  const plus = view.names("Towards", "", "Empty: the samples marked as good."),
    minus = view.names("Away from", "", "Empty: those marked as flaw.");
  /** @param {string} label @param {number} index @param {number} count */
  const amount = (label, index, count) =>
    slider(label, { low: -4, high: 4, step: 0.1, value: 0 },
      (value) => { (state.amounts ??= new Array(count).fill(0))[index] = value; view.refresh(); }).element;
  /** Begin with the overview of all directions. @param {string} source */
  const open = (source) => {
    Object.assign(state, { source, amounts: null });
    fill(place, source === "labels" ? [plus.element, minus.element, amount("Amount", 0, 1)]
      : Array.from({ length: COMPONENTS }, (_, index) => amount(`Component ${index + 1}`, index, COMPONENTS)),
      button("Overview", () => open(source)));
    view.refresh();
  };
  open(state.source);
  return { single: () => state.amounts !== null,
    controls: [hasStyles && segmented("Directions by", { components: "Principal components", labels: "Marked samples" }, state.source,
      open), start.element, place],
    body: () => ({ ...state, start: start.names()[0] ?? null,
      ...(state.source === "labels" ? { plus: plus.names(), minus: minus.names() } : { components: COMPONENTS }) }) };
}

/** @param {ExploreView} view @returns {Mode} */
function arithmeticMode(view) {
  const [a = "0/0", b = "0/1", c = "0/2"] = view.collected, state = { neighbours: false };
  const plus = view.names("Mean of", a), minus = view.names("minus the mean of", b), more = view.names("plus the mean of", c);
  const groups = (/** @type {{names: () => string[]}[]} */ ...inputs) =>
    inputs.map((input) => input.names()).filter((names) => names.length);
  return { single: () => !state.neighbours, body: () => ({ plus: groups(plus, more), minus: groups(minus), ...state }),
    controls: [plus.element, minus.element, more.element, view.check("Its neighbours, too", state, "neighbours"),
      h("p", { class: "muted" }, "Three samples a group give steadier results than one.")] };
}

/** A place for a picture, by drop, choice or paste. @param {(image: string) => void} onimage gets base64 */
function pictureInput(onimage) {
  const preview = h("img", { class: "upload", alt: "The picture that you gave", hidden: true });
  const read = (/** @type {File} */ file) => {
    const reader = new FileReader();
    reader.onload = () => { preview.src = String(reader.result); preview.hidden = false; onimage(preview.src.split(",")[1] ?? ""); };
    reader.readAsDataURL(file);
  };
  const paste = (/** @type {ClipboardEvent} */ event) => { const file = event.clipboardData?.files[0]; if (file) read(file); };
  addEventListener("paste", paste);
  return { element: [dropZone("Drop, paste or choose a picture", "image/*", read), preview],
    end: () => removeEventListener("paste", paste) };
}

/** @param {ExploreView} view @returns {Mode} */
function translateMode(view) {
  const state = { image: "", back: false, fit: null }, input = pictureInput((image) => { state.image = image; view.refresh(); });
  return { end: input.end, body: () => (state.image ? state : null),
    controls: [input.element, view.fit(state, ["native", "resize", "crop", "pad", "stretch"]),
      view.facts.back && view.check("From the target domain back to the source", state, "back")] };
}

/** @param {ExploreView} view @returns {Mode} */
function projectMode(view) {
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Progress" }), state = h("p", { class: "muted", "aria-live": "polite" });
  const cancel = button("Cancel", () => void post(`${path}/cancel`, {}));
  const request = { kind: "project", image: "", fit: "crop" };
  let path = "", timer = 0;
  const run = (/** @type {() => Promise<void>} */ action) => action().catch((error) => view.fail(error));
  const poll = async () => {
    const status = await get(path);
    bar.value = status.step / Math.max(1, status.steps);
    fill(state, status.error || `${status.state}: step ${status.step} of ${status.steps}`,
      status.distance !== null && `; distance ${number(status.distance)}, at first ${number(status.start_distance)}`);
    cancel.hidden = status.state !== "running";
    if (status.step) await view.show(await fetch(`${path}/picture.png`));
    if (status.state === "running") timer = setTimeout(() => run(poll), POLL);
    else if (status.state === "finished") view.collect(`@${path.split("/").at(-1)}`);
  };
  const input = pictureInput((image) => run(async () => {
    clearTimeout(timer);
    path = `/api/explore/jobs/${(await post("/api/explore", { run: view.id, step: view.step, ...request, image }, view.abort.signal)).job}`;
    await poll();
  }));
  cancel.hidden = true;
  return { end: () => { clearTimeout(timer); input.end(); }, body: () => null,
    controls: [h("p", { class: "muted" }, "Finds the styles whose sample resembles your picture most, and puts them on the shelf."),
      view.fit(request, ["crop", "pad", "stretch"]), input.element, bar, state, cancel] };
}
