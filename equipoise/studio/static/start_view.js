/**
 * Start a run: what to train on, what, how long; what will be left out, what it will cost, and the command that does
 * the same. `?from=ID` starts with the settings of another run.
 * @module
 */
import { get, latest, post, runPath } from "./api.js";
import { bytes, duration, field, fill, h, number, panel, segmented } from "./dom.js";
import { choice, copyable, debounce } from "./inputs.js";

/** @typedef {{name: string, help: string, presets?: {name: string, help: string}[]}} Plug */
/** @typedef {{name: string, type: string, help: string, group: string, choices?: string[], minimum?: number | null, above?: number | null, maximum?: number | null, unit?: string, default?: unknown}} Setting */
/** @typedef {{models: Plug[], data: Plug[], controllers: Plug[], metrics?: Plug[], settings: Setting[]}} Catalog */
/** @typedef {{command: string, shape: number[] | null, train: number | null, held_out: number | null, classes: string[] | number, notes: string[], skipped: string[], thumbnails: string[], seconds: number | null, report_seconds: number | null, memory: number | null, parameters: number | Record<string, number> | null, error: string | null}} Preview */

const FIRST = ["data", "model", "controller", "minutes", "steps", "image_size", "batch_size", "seed"];
const WRITTEN = ["format", "versions", "budget", "seconds", "manual"];

/** @param {HTMLElement} root @param {import("./main.js").Params} params */
export async function mount(root, { query }) {
  const from = query.get("from");
  /** @type {[Catalog, any]} */
  const [catalog, source] = await Promise.all([get("/api/catalog"), from ? get(runPath(from)) : null]);
  const form = new StartForm(catalog, settingsOf(source?.experiment));
  const title = from ? `Start a run like ${from}` : "Start a run";
  fill(root, h("div", { class: "title" }, h("h1", {}, title), h("p", { class: "muted" }, "It goes on when you close this page.")), form.element);
  form.preview();
  return () => form.preview.cancelled = true;
}

/** Settings to begin with: those of a run without what the program wrote itself. @param {any} experiment @returns {Record<string, any>} */
function settingsOf(experiment) {
  if (!experiment) return { data: "digits", minutes: 2 };
  const values = { ...experiment };
  if (values.budget) {
    values.minutes = Number((values.budget / 60).toPrecision(4));
    delete values.steps;
  }
  for (const name of WRITTEN) delete values[name];
  return values;
}

/** @param {any} plug a name, or a name with options */
const plugName = (plug) => (typeof plug === "object" && plug ? plug.name : plug) ?? "";

/** The options of a plug that hold the user's folder or file. @param {any} plug */
const plugPath = (plug) => plug?.options?.folder ?? plug?.options?.file ?? "";

class StartForm {
  /** @param {Catalog} catalog @param {Record<string, any>} values */
  constructor(catalog, values) {
    this.catalog = catalog;
    this.values = values;
    this.changed = "data";
    /** @type {Map<string, HTMLElement>} */
    this.errors = new Map();
    this.result = h("div", { class: "stack", "aria-live": "polite" });
    this.button = h("button", { type: "submit", class: "primary" }, "Start");
    const load = latest(this.load.bind(this), (error) => this.fail(error.message));
    this.preview = Object.assign(debounce(() => this.preview.cancelled || load(undefined), 400), { cancelled: false });
    this.element = h("form", { class: "start-form", onsubmit: (/** @type {Event} */ event) => this.start(event) },
      h("div", { class: "stack" }, this.dataPanel(), this.modelPanel(), this.lengthPanel(), this.otherPanel()),
      h("div", { class: "stack sticky" }, panel("What will happen", this.button, this.error("start"), this.result)));
  }

  /** The place for an error of a field. @param {string} name */
  error(name) {
    const place = h("p", { class: "error", role: "alert", hidden: true });
    this.errors.set(name, place);
    return place;
  }

  /** @param {string} name @param {any} value undefined: the default */
  set(name, value) {
    if (value === undefined || value === "" || Number.isNaN(value)) delete this.values[name];
    else this.values[name] = value;
    this.changed = name;
    this.preview();
  }

  dataPanel() {
    const path = plugPath(this.values.data) || (String(plugName(this.values.data)).includes("/") ? plugName(this.values.data) : "");
    const place = h("div", { class: "stack" });
    const { data } = this.catalog;
    const help = h("small", { class: "muted" });
    const explain = () => fill(help, data.find(({ name }) => name === plugName(this.values.data))?.help ?? "");
    const select = () => choice(data.map(({ name }) => name), plugName(this.values.data), (value) => { this.set("data", value); explain(); });
    /** @param {string} kind */
    const show = (kind) => fill(place, kind === "package"
      ? [field("Data set", select()), help]
      : field("Folder of pictures, tables or sound, or a text file", h("input", { type: "text", value: path, placeholder: "/home/me/photographs", spellcheck: "false", oninput: (/** @type {any} */ event) => this.set("data", event.target.value.trim()) }), "A path on the computer that runs the studio. Nothing in it is changed."));
    const kind = path ? "own" : "package";
    show(kind);
    explain();
    return panel("Data", segmented("Source of the data", { package: "Data set of the package", own: "My own" }, kind, show), place, this.error("data"));
  }

  modelPanel() {
    return panel("Model and control", null, h("div", { class: "columns" },
      this.plugField("model", "Model", this.catalog.models, "by the data"),
      this.plugField("controller", "Controller: what changes knobs during training", this.catalog.controllers, "by the data")));
  }

  /** A plug and its preset. @param {string} name @param {string} label @param {Plug[]} plugs @param {string} automatic */
  plugField(name, label, plugs, automatic) {
    const place = h("div", { class: "stack" });
    const show = () => {
      const [plug, preset = ""] = plugName(this.values[name]).split(":");
      const current = plugs.find((item) => item.name === plug);
      const presets = current?.presets ?? [];
      const presetHelp = presets.find((item) => item.name === preset)?.help ?? "";
      fill(place, field(label, choice([["", `(${automatic})`], ...plugs.map((item) => item.name)], plug, (value) => { this.set(name, value); show(); })),
        presets.length > 0 && field("Preset", choice([["", "(none)"], ...presets.map((item) => item.name)], preset, (value) => { this.set(name, value ? `${plug}:${value}` : plug); show(); })),
        h("small", { class: "muted" }, presetHelp || current?.help || ""), error);
    };
    const error = this.error(name);
    show();
    return place;
  }

  lengthPanel() {
    const place = h("div", { class: "stack" });
    /** @param {string} name */
    const show = (name) => {
      delete this.values[name === "minutes" ? "steps" : "minutes"];
      const value = this.values[name] ?? (name === "minutes" ? 2 : "");
      if (this.values[name] === undefined && value) this.set(name, value);
      fill(place, field(name === "minutes" ? "Minutes" : "Steps (each updates every network)", h("input", { type: "number", min: 0, step: name === "minutes" ? "any" : 1, value, oninput: (/** @type {any} */ event) => this.set(name, event.target.valueAsNumber) })), this.error(name));
    };
    const kind = this.values.steps !== undefined ? "steps" : "minutes";
    show(kind);
    const sizes = ["image_size", "batch_size", "seed"].map((name) => this.settingField(name)).filter(Boolean);
    return panel("Length and size", segmented("Length by", { minutes: "Time", steps: "Steps" }, kind, show), h("div", { class: "columns" }, place, sizes));
  }

  otherPanel() {
    /** @type {Map<string, Setting[]>} */
    const groups = new Map();
    for (const setting of this.catalog.settings)
      if (!FIRST.includes(setting.name) && !WRITTEN.includes(setting.name)) groups.set(setting.group, [...(groups.get(setting.group) ?? []), setting]);
    return panel("Other settings", null, [...groups].map(([group, settings]) => {
      const isSet = settings.some(({ name }) => this.values[name] !== undefined);
      return h("details", { open: isSet && this.values.knobs !== undefined }, h("summary", {}, group), h("div", { class: "columns" }, settings.map(({ name }) => this.settingField(name))));
    }));
  }

  /** An input by the declaration of a setting. @param {string} name */
  settingField(name) {
    const setting = this.catalog.settings.find((item) => item.name === name);
    if (!setting) return null;
    const value = this.values[name];
    const label = name.replaceAll("_", " ") + (setting.unit ? ` (${setting.unit})` : "");
    return h("div", {}, field(label, settingInput(setting, value, (next) => this.set(name, next)), setting.help), this.error(name));
  }

  /** @param {undefined} _ @param {AbortSignal} signal */
  async load(_, signal) {
    this.result.setAttribute("aria-busy", "true");
    /** @type {Preview} */
    const preview = await post("/api/preview", this.values, signal);
    this.result.removeAttribute("aria-busy");
    if (preview.error) return this.fail(preview.error);
    this.clear();
    fill(this.result, previewOf(preview));
  }

  clear() {
    for (const place of this.errors.values()) place.hidden = true;
    this.button.disabled = false;
  }

  /** Show an error next to the field that it names, else next to the last one that was changed. @param {string} message */
  fail(message) {
    this.clear();
    this.result.removeAttribute("aria-busy");
    const subject = message.match(/^(\w+)( =|:| '| must| does)/)?.[1] ?? "";
    const place = this.errors.get(subject) ?? this.errors.get(this.changed) ?? this.errors.get("start");
    if (!place) return;
    fill(place, message);
    place.hidden = false;
    this.button.disabled = true;
    for (let box = place.closest("details"); box; box = null) box.open = true;
  }

  /** @param {Event} event */
  async start(event) {
    event.preventDefault();
    this.button.disabled = true;
    this.changed = "start";
    try {
      const { id } = await post("/api/runs", this.values);
      location.hash = `#/run/${encodeURIComponent(id)}`;
    } catch (error) {
      this.fail(/** @type {Error} */ (error).message);
    }
  }
}

/** @param {Setting} setting @param {any} value @param {(value: any) => void} onvalue undefined: the default */
function settingInput(setting, value, onvalue) {
  const { type, choices, minimum, above, maximum } = setting;
  const initial = setting.default ?? "";
  if (choices?.length || type === "bool") {
    const options = choices?.length ? choices : ["true", "false"];
    const convert = (/** @type {string} */ text) => text === "" ? undefined : type === "bool" ? text === "true" : text;
    return choice([["", "(default)"], ...options], String(value ?? ""), (text) => onvalue(convert(text)));
  }
  if (type === "int" || type === "float")
    return h("input", { type: "number", min: minimum ?? above, max: maximum, step: type === "int" ? 1 : "any", value: value ?? "", placeholder: String(initial), oninput: (/** @type {any} */ event) => onvalue(event.target.valueAsNumber) });
  const text = typeof plugName(value) === "string" && value?.name ? plugName(value) : formatPairs(value);
  const placeholder = type === "table" ? "name=value, name=value" : type === "list" ? "name, name" : String(initial);
  return h("input", { type: "text", value: text, placeholder, spellcheck: "false", oninput: (/** @type {any} */ event) => onvalue(parseText(type, event.target.value.trim())) });
}

/** @param {any} value */
function formatPairs(value) {
  if (Array.isArray(value)) return value.join(", ");
  if (typeof value === "object" && value) return Object.entries(value).map(([name, item]) => `${name}=${item}`).join(", ");
  return String(value ?? "");
}

/** @param {string} type @param {string} text @returns {any} */
function parseText(type, text) {
  if (text === "" || (type !== "table" && type !== "list")) return /^\d+$/.test(text) && type !== "text" ? Number(text) : text;
  const parts = text.split(/,(?![^(]*\))/).map((part) => part.trim()).filter(Boolean);
  if (type === "list") return parts;
  return Object.fromEntries(parts.map((part) => [part.split("=")[0].trim(), valueOf(part.slice(part.indexOf("=") + 1).trim())]));
}

/** @param {string} text */
function valueOf(text) {
  if (text === "true" || text === "false") return text === "true";
  return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}

/** @param {Preview} preview */
function previewOf(preview) {
  const weights = typeof preview.parameters === "number" ? preview.parameters : Object.values(preview.parameters ?? {}).reduce((sum, count) => sum + count, 0);
  const classes = Array.isArray(preview.classes) ? preview.classes : [];
  /** @type {[string, string][]} */
  const facts = [
    ["Training", preview.train === null ? "–" : number(preview.train)],
    ["Held out to measure", preview.held_out === null ? "–" : number(preview.held_out)],
    ["Shape", preview.shape?.join(" × ") ?? "–"],
    ["Classes", classes.length ? `${classes.length}: ${classes.slice(0, 6).join(", ")}${classes.length > 6 ? ", …" : ""}` : number(Number(preview.classes) || 0)],
    ["Time", preview.seconds === null ? "–" : `about ${duration(preview.seconds)}`],
    ["Report", preview.report_seconds === null ? "–" : duration(preview.report_seconds)],
    ["Memory", preview.memory === null ? "–" : bytes(preview.memory)],
    ["Weights", weights ? number(weights) : "–"],
  ];
  return [
    preview.thumbnails.length > 0 && h("div", { class: "thumbnails" }, preview.thumbnails.map((src, index) => h("img", { class: "pixels", src, alt: `Training sample ${index + 1}` }))),
    h("dl", { class: "tiles" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    preview.notes.length > 0 && h("ul", { class: "notes" }, preview.notes.map((note) => h("li", {}, note))),
    preview.skipped.length > 0 && h("details", { open: true }, h("summary", {}, `${preview.skipped.length} files will be left out`), h("ul", { class: "skipped" }, preview.skipped.map((line) => h("li", {}, line)))),
    h("h3", {}, "The same in a terminal"), copyable(preview.command),
  ];
}
