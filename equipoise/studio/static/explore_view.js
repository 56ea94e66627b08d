/**
 * The explorer: tabs of the latent space of a run, the settings of sampling, a chosen sample, and a shelf of samples.
 * The address holds all that decides the picture. Of all requests at most one is under way, and the newest is the next.
 * @module
 */
import { coalesce, get, post, postRaw, runPath, url } from "./api.js";
import { announce } from "./clock.js";
import { button, fill, h, panel, segmented } from "./dom.js";
import { createResult } from "./explore_result.js";
import { MARKS, TABS, inputs, readBase64 } from "./explore_tabs.js";
import { debounce, dropZone } from "./inputs.js";

/** @typedef {Record<string, any>} Values what was entered in a form, or how to sample, by the name of the field */
/** @typedef {{name: string, text: string, kind: string, help: string, neutral: any, options?: [string, string][], low?: number,
 *   high?: number, step?: number}} Field kind: as in exploration_forms.py; neutral: the value without a change */
/**
 * @typedef {object} Facts what acts in the model; controls: of sampling
 * @property {number} step
 * @property {"image" | "text" | "sequence" | "point"} samples
 * @property {number[]} shape
 * @property {Record<string, {title: string, fields: Field[], note: string, fixed: Values}>} tabs
 * @property {[string, string][]} weights
 * @property {Field[]} controls
 * @property {boolean} prompt
 * @property {string[]} captions
 */
/** @typedef {{controls: import("./dom.js").Children, body: () => Values | null, shown?: () => void, end?: () => void}} Mode
 * body null: nothing to request; shown: called after a picture, a choice or a mark */
/** @typedef {{name: string, prompt: string, settings: Values}} Entry a sample, with all that decides its picture */

const MAX_COLLECTED = 32;
const CLIENT = String(Math.random()).slice(2);

/** @param {HTMLElement} root @param {import("./main.js").Params} params */
export async function mount(root, { id, query }) {
  fill(root, h("p", { class: "empty", role: "status" }, "Loading the generator: the first time takes some seconds…"));
  const view = new ExploreView(id, await get(`/api/explore/${encodeURIComponent(id)}`, { step: query.get("step") }), query);
  fill(root, view.element);
  view.open(view.kind);
  return () => view.end();
}

export class ExploreView {
  mode = /** @type {Mode | null} */ (null);
  settings = /** @type {Values} */ ({});
  chosen = /** @type {Entry | null} */ (null);
  /** Marks of samples at the step of the last picture. */
  marks = /** @type {Record<string, string>} */ ({});
  drawn = -1;
  singleKey = "";
  /** What was entered in each tab, by its name. */
  states = /** @type {Record<string, Values>} */ ({});
  /** The input for names that was used last. */
  target = /** @type {{label: string, add: (name: string) => void} | null} */ (null);
  abort = new AbortController();
  place = h("div", {});
  problem = h("p", { class: "error", role: "alert", hidden: true });
  controls = h("div", { class: "stack" });
  sampling = h("div", { class: "stack" });
  recipe = h("div", { class: "stack" });
  shelf = h("ul", { class: "shelf" });
  whole = createResult(this, () => this.mode?.body() ?? null);
  single = createResult(this, () => (this.chosen ? bodyOf(this.chosen) : null));

  /** @param {string} id @param {Facts} facts @param {URLSearchParams} query */
  constructor(id, facts, query) {
    this.id = id;
    this.facts = facts;
    this.query = query;
    this.entries = storedShelf(id);
    this.fields = [{ name: "step", text: "Weights", kind: "select", help: "", neutral: "", options: facts.weights }, ...facts.controls];
    for (const { name, neutral } of this.fields) this.settings[name] = unpack(query.get(name), neutral);
    this.kind = [query.get("view") ?? "", ...Object.keys(facts.tabs)].find((tab) => tab in facts.tabs) ?? "";
    const name = query.get("sample"), path = encodeURIComponent(id);
    if (name) this.chosen = { name, prompt: query.get("prompt") ?? "", settings: this.settings };
    this.refresh = coalesce(async () => {
      this.remember();
      await this.whole.draw();
      const key = JSON.stringify([this.chosen, this.acting()]);
      if (this.singleKey !== key) await this.single.draw();
      this.singleKey = key;
      this.drawMarks();
    }, (error) => this.fail(error), 0);
    this.remember = debounce(() => {
      const { kind: view, chosen, abort, states } = this, values = { ...this.acting(), ...states[view] };
      if (!abort.signal.aborted) history.replaceState(null, "", url(`#/explore/${path}`,
        { view, sample: chosen?.name, prompt: chosen?.prompt || null, ...values }));
    });
    this.chosenPanel = panel("Chosen sample", button("✕", () => this.choose(null), "quiet small", { "aria-label": "Close" }),
      h("div", { class: "chosen" }, this.single.element, this.recipe), this.single.captures);
    this.element = [h("div", { class: "title" }, h("h1", {}, "Explore ", h("a", { href: `#/run/${path}` }, id)),
      h("a", { href: `#/judge/${path}` }, "Judge two steps")),
    segmented("What to explore", Object.fromEntries(Object.entries(facts.tabs).map(([key, { title }]) => [key, title])),
      this.kind, (next) => this.open(next)),
    h("div", { class: "explore-columns" }, h("section", { class: "panel", "aria-label": "Picture" }, this.place, this.problem),
      h("div", { class: "stack" }, this.chosenPanel, panel("Controls", null, this.controls), panel("Sampling", null, this.sampling),
        panel("Shelf", null, this.shelf, dropZone("Load saved latents", ".safetensors", (file) => this.load(file))),
        panel("Capture", null, this.whole.captures)))];
  }

  /** @param {string} name */
  open(name) {
    this.mode?.end?.();
    this.mode = this.target = null;
    this.kind = name;
    const old = this.place;
    old.replaceWith(this.place = h("div", { class: "picture-place" }, this.whole.element));
    this.mode = (TABS[this.kind] ?? TABS.form)(this);
    fill(this.controls, this.mode.controls);
    this.drawSettings();
    this.drawShelf();
    this.choose(this.chosen);
  }

  end() {
    for (const part of [this.mode, this.whole, this.single]) part?.end?.();
    this.mode = null;
    this.abort.abort();
  }

  /**
   * What was entered in the tab: as it was left, or as the address says; otherwise the values of its fields, and `more`.
   * @template {Values} T
   * @param {T} [more]
   * @returns {T & Values}
   */
  state(more) {
    const { kind, query, facts, states } = this, isHere = query.get("view") === kind;
    const defaults = { ...Object.fromEntries(facts.tabs[kind].fields.map(({ name, neutral }) => [name, neutral])), ...more };
    states[kind] ??= Object.fromEntries(Object.entries(defaults).map(([key, value]) =>
      [key, isHere ? unpack(query.get(key), value) : value]));
    return /** @type {T & Values} */ (states[kind]);
  }

  /** Settings that change something. */
  acting() {
    return Object.fromEntries(this.fields.map(({ name, neutral }) => [name, this.settings[name], neutral])
      .filter(([, value, neutral]) => value !== undefined && value !== neutral));
  }

  drawSettings = () => fill(this.sampling, inputs(this, this.fields, this.settings));

  /** The fields of a request. @param {Values} body @param {Values} settings */
  fill(body, settings) {
    const { step = null, label = null, ...sampling } = settings;
    return { run: this.id, step: /^\d+$/.test(step) ? Number(step) : step, label: label && Number(label), sampling, ...body };
  }

  send = (/** @type {Values} */ body) =>
    postRaw("/api/explore", this.fill({ ...body, client: `${CLIENT} ${body.client}` }, this.acting()), this.abort.signal);

  /** @param {Error & {status?: number}} error */
  fail(error) {
    if (this.abort.signal.aborted || error.status === 409) return;
    fill(this.problem, error.message);
    this.problem.hidden = false;
  }

  attempt = (/** @type {() => Promise<void>} */ action) => action().catch((error) => this.fail(error));

  /** Show a sample on its own, with its recipe. @param {Entry | null} entry */
  choose(entry) {
    this.chosen = entry;
    this.chosenPanel.hidden = !entry;
    this.drawMarks();
    this.refresh();
  }

  /**
   * Choose a sample of the picture and put it on the shelf, with the number of its step.
   * @param {string} name
   * @param {string} [prompt]
   */
  collect(name, prompt = "") {
    if (this.drawn >= 0) this.settings.step = String(this.drawn);
    const entry = { name, prompt, settings: this.acting() }, key = JSON.stringify(entry);
    this.keep([...this.entries.filter((other) => JSON.stringify(other) !== key), entry]);
    this.drawSettings();
    this.choose(entry);
    announce(`Sample ${name} is chosen, and on the shelf`);
  }

  /** Show the picture of an entry again: its settings, and in the tab of samples its grid. @param {Entry} entry */
  use(entry) {
    const [seed, index] = entry.name.split("/").map(Number);
    this.settings = { ...entry.settings };
    this.chosen = entry;
    if (this.kind === "grid" && index >= 0) Object.assign(this.states.grid, { seed, prompt: entry.prompt });
    this.open(this.kind);
  }

  /** A file of latents is chosen, and on the shelf as long as the explorer runs. @param {File} file */
  load(file) {
    return this.attempt(async () => {
      const response = await this.send({ kind: "load", client: "load", latents: await readBase64(file), file: file.name });
      this.collect((await response.json()).name);
    });
  }

  /** The recipe of the chosen sample, and buttons that mark it. */
  drawMarks() {
    const { chosen, marks, fields, settings } = this;
    const described = fields.filter(({ name }) => name in this.acting()).map(({ name, text, options }) =>
      `${name === "step" ? "" : text} ${options?.find(([value]) => value === settings[name])?.[1] ?? settings[name]}`.trim());
    const text = [chosen?.name, chosen?.prompt, ...described].filter(Boolean).join(" · ");
    if (chosen) fill(this.recipe, h("p", {}, h("strong", {}, text)),
      h("div", { class: "toolbar" }, chosen.name.includes("/") && Object.entries(MARKS).map(([answer, [sign, text]]) =>
        button(`${sign} Mark: ${text}`, () => this.mark(chosen.name, marks[chosen.name] === answer ? "none" : answer), "small",
          { "aria-pressed": marks[chosen.name] === answer }))));
    this.mode?.shown?.();
  }

  /** @param {string} sample @param {string} answer */
  mark(sample, answer) {
    return this.attempt(async () => {
      this.marks = (await post(runPath(this.id, "/labels"), { kind: "mark", sample, step: this.drawn, answer })).marks;
      this.drawMarks();
    });
  }

  /** @param {number} step the step of a picture that was drawn */
  async setStep(step) {
    if (step === this.drawn) return;
    this.drawn = step;
    this.marks = (await get(runPath(this.id, "/labels"), { step })).marks;
  }

  /** @param {Entry[]} entries those of loaded files end with the explorer */
  keep(entries) {
    this.entries = entries.slice(-MAX_COLLECTED);
    localStorage.setItem(`shelf ${this.id}`, JSON.stringify(this.entries.filter(({ name }) => name.includes("/"))));
    this.drawShelf();
  }

  drawShelf() {
    const { entries, target, facts } = this;
    /** @param {string} title @param {() => void} onclick @param {import("./dom.js").Children} content @param {string} [label] */
    const tool = (title, onclick, content, label = title) => button(content, onclick, "quiet small", { title, "aria-label": label });
    const thumbnail = (/** @type {Entry} */ entry) => facts.samples !== "text" && h("img", { class: "pixels", alt: "", loading: "lazy",
      src: url("/api/explore/samples/thumbnail.png", { body: JSON.stringify(this.fill(bodyOf(entry), entry.settings)) }) });
    fill(this.shelf, entries.length === 0 && h("li", { class: "muted" }, "Samples that you choose are kept here."),
      entries.map((entry) => h("li", { class: "chip" },
        tool("Show this picture again, with its settings", () => this.use(entry), [thumbnail(entry), entry.name], entry.name),
        target && tool(`Add ${entry.name} to the field “${target.label}”`, () => target.add(entry.name), "+"),
        tool(`Remove ${entry.name}`, () => this.keep(entries.filter((other) => other !== entry)), "✕"))));
  }
}

/** The shelf of a run that this browser keeps; empty if it cannot be read. @param {string} id @returns {Entry[]} */
function storedShelf(id) {
  try {
    return JSON.parse(localStorage.getItem(`shelf ${id}`) ?? "[]").filter((/** @type {Entry} */ entry) => entry.name && entry.settings);
  } catch { return []; }
}

/** @param {Entry} entry */
const bodyOf = ({ name, prompt }) => ({ kind: "seeds", samples: [name], prompt });

/** A value of the address, of the type of what it is otherwise. @param {string | null} text @param {any} otherwise */
const unpack = (text, otherwise) => text === null ? otherwise : typeof otherwise === "number" ? Number(text)
  : typeof otherwise === "boolean" ? text === "true" : text;
