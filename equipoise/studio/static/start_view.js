/**
 * Start a run: what to train on, what, how long; what will be left out, what it will cost, and the command that does
 * the same. `?from=ID` starts with the settings of another run.
 * @module
 */
import { get, latest, lines, post, postRaw, runPath } from "./api.js";
import { bytes, duration, field, fill, h, number, panel, segmented } from "./dom.js";
import { choice, copyable, debounce } from "./inputs.js";

/** @typedef {{name: string, help: string, presets?: {name: string, help: string}[]}} Plug */
/**
 * @typedef {object} Setting
 * @property {string} name
 * @property {"plug" | "bool" | "int" | "float" | "size" | "text" | "list" | "table"} type
 * @property {string} help
 * @property {string} group
 * @property {string[]} choices
 * @property {number | null} minimum
 * @property {number | null} above
 * @property {number | null} maximum
 * @property {string} unit
 */
/** @typedef {{models: Plug[], data: Plug[], controllers: Plug[], settings: Setting[]}} Catalog */
/**
 * @typedef {object} Preview
 * @property {string} command
 * @property {number[] | null} shape
 * @property {number | null} train
 * @property {number | null} held_out
 * @property {string[] | number} classes
 * @property {string[]} notes
 * @property {string[]} skipped
 * @property {number} skipped_count
 * @property {string[]} thumbnails
 * @property {number | null} seconds
 * @property {number | null} report_seconds
 * @property {number | null} memory
 * @property {Record<string, number> | null} parameters
 * @property {string | null} error
 */

const SHOWN_FIRST = ["data", "model", "controller", "minutes", "steps", "image_size", "batch_size", "seed"];
const WRITTEN = ["format", "versions", "budget", "seconds", "manual"];

/** @param {HTMLElement} root @param {import("./main.js").Params} params */
export async function mount(root, { query }) {
  const from = query.get("from");
  /** @type {[Catalog, {title: string, note: string, values: Record<string, any>}]} */
  const [catalog, { title, note, values }] = await Promise.all([get("/api/catalog"), from
    ? get(runPath(from, "/start"), { step: query.get("step"), symptom: query.get("symptom"), twin: query.get("twin") })
    : { title: "Start a run", note: "The run continues when you close this page.", values: { data: "digits", minutes: 2 } }]);
  const form = createForm(catalog, values);
  fill(root, h("div", { class: "title" }, h("h1", {}, title), h("p", { class: "muted" }, note)), form.element);
  return form.end;
}

/** @param {any} plug a name, or a name with options @returns {string} */
const plugName = (plug) => plug?.name ?? plug ?? "";

/** @param {Catalog} catalog @param {Record<string, any>} values */
function createForm(catalog, values) {
  /** @type {Map<string, HTMLElement>} */
  const errors = new Map();
  let changed = "data", ended = false;
  const result = h("div", { class: "stack", "aria-live": "polite" },
    h("p", { class: "muted" }, "Looking at the data…")), status = h("p", { role: "status" });
  const button = h("button", { type: "submit", class: "primary" }, "Start");
  const load = latest(async (/** @type {undefined} */ _, signal) => {
    result.setAttribute("aria-busy", "true");
    for await (const preview of lines(await postRaw("/api/preview", values, signal))) {
      if (ended) return;
      if (preview.error) return fail(preview.error);
      clear();
      fill(result, previewOf(preview));
    }
  }, (error) => { if (!ended) fail(error.message); });
  const preview = debounce(() => { if (!ended) load(undefined); }, 500);

  /** A place for the error of a setting. @param {string} name */
  const errorOf = (name) => {
    const place = h("p", { class: "error", role: "alert", hidden: true });
    errors.set(name, place);
    return place;
  };
  const clear = () => {
    for (const place of errors.values()) place.hidden = true;
    result.removeAttribute("aria-busy");
    button.disabled = false;
  };
  /** Show an error next to the setting that it names, else next to the last one that was changed. @param {string} message */
  const fail = (message) => {
    clear();
    const setting = message.match(/^(\w+)( =|:| must| does)/)?.[1] ?? "";
    const place = errors.get(setting) ?? errors.get(changed) ?? /** @type {HTMLElement} */ (errors.get("start"));
    fill(place, message);
    place.hidden = false;
    place.closest("details")?.setAttribute("open", "");
    button.disabled = true;
  };
  /** @param {string} name @param {any} value undefined, "" or NaN: the default */
  const set = (name, value) => {
    if (value === undefined || value === "" || Number.isNaN(value)) delete values[name];
    else values[name] = value;
    changed = name;
    preview();
  };

  function dataPanel() {
    const path = values.data?.options?.folder ?? values.data?.options?.file ?? "", kind = path ? "own" : "package";
    const place = h("div", { class: "stack" }), help = h("small", { class: "muted" });
    const explain = () => fill(help, catalog.data.find(({ name }) => name === plugName(values.data))?.help);
    /** @param {string} next */
    const show = (next) =>
      fill(place, next === "package"
        ? [field("Data set", choice(catalog.data.map(({ name }) => name), plugName(values.data),
          (name) => { set("data", name); explain(); })), help]
      : field("Folder of pictures, tables or sound, or a text file",
        h("input", { type: "text", value: path, placeholder: "/home/me/photographs", spellcheck: "false",
          oninput: (/** @type {any} */ event) => set("data", event.target.value.trim()) }),
      "A path on the computer that runs the studio. Nothing in it is changed."));
    show(kind);
    explain();
    return panel("Data", segmented("Source of the data", { package: "Data set of the package", own: "My own" }, kind, show), place,
      errorOf("data"));
  }

  /** A plug and its preset. @param {string} name @param {string} label @param {Plug[]} plugs */
  function plugField(name, label, plugs) {
    const place = h("div", { class: "stack" }), error = errorOf(name);
    const show = () => {
      const [base, preset = ""] = plugName(values[name]).split(":"), plug = plugs.find((item) => item.name === base),
        presets = plug?.presets ?? [];
      const change = (/** @type {string} */ next) => { set(name, next); show(); };
      fill(place, field(label, choice([["", "(by the data)"], ...plugs.map((item) => item.name)], base, change)),
        presets.length > 0 && field("Preset",
          choice([["", "(none)"], ...presets.map((item) => item.name)], preset, (next) => change(next ? `${base}:${next}` : base))),
        h("small", { class: "muted" }, presets.find((item) => item.name === preset)?.help ?? plug?.help), error);
    };
    show();
    return place;
  }

  function lengthPanel() {
    const place = h("div", {}), kind = values.steps === undefined ? "minutes" : "steps";
    /** @param {string} name */
    const show = (name) => fill(place, field(name === "minutes" ? "Minutes" : "Steps (each updates every network)",
        h("input", { type: "number", min: 0, step: name === "minutes" ? "any" : 1, value: values[name] ?? "",
          oninput: (/** @type {any} */ event) => set(name, event.target.valueAsNumber) })), errorOf(name));
    /** @param {string} name */
    const change = (name) => {
      delete values[name === "minutes" ? "steps" : "minutes"];
      set(name, name === "minutes" ? 2 : 1000);
      show(name);
    };
    show(kind);
    return panel("Length and size", segmented("Length by", { minutes: "Time", steps: "Steps" }, kind, change),
      h("div", { class: "fields" }, place, ["image_size", "batch_size", "seed"].map(settingField)));
  }

  /** @param {string} name */
  function settingField(name) {
    const setting = catalog.settings.find((item) => item.name === name);
    return setting ? h("div", {}, field(name.replaceAll("_", " ") + (setting.unit && ` (${setting.unit})`),
        settingInput(setting, values[name], (value) => set(name, value)), setting.help), errorOf(name)) : null;
  }

  function otherPanel() {
    const others = catalog.settings.filter(({ name }) => !SHOWN_FIRST.includes(name) && !WRITTEN.includes(name));
    return panel("Other settings", null, [...new Set(others.map(({ group }) => group))].map((group) => {
      const names = others.filter((item) => item.group === group).map(({ name }) => name),
        count = names.filter((name) => values[name] !== undefined).length;
      return h("details", { open: names.includes("knobs") && !!values.knobs }, h("summary", {}, group, count > 0 && ` (${count} set)`),
        h("div", { class: "fields" }, names.map(settingField)));
    }));
  }

  /** @param {Event} event */
  const start = async (event) => {
    event.preventDefault();
    clear();
    button.disabled = ended = true; // what was sent is not checked again: its name is taken from now on
    changed = "start";
    try {
      fill(status, "Starting the process… This takes up to a minute.");
      location.hash = `#/run/${encodeURIComponent((await post("/api/runs", values)).id)}`;
    } catch (error) {
      fill(status);
      ended = false;
      fail(/** @type {Error} */ (error).message);
    }
  };

  const plugs = h("div", { class: "fields" }, plugField("model", "Model", catalog.models),
    plugField("controller", "Controller: what changes knobs during training", catalog.controllers));
  const name = h("input", { type: "text", value: values.name ?? "", maxlength: 100, spellcheck: "false", placeholder: "by data and model",
    oninput: () => set("name", name.value.trim()) });
  const element = h("form", { class: "start-form", novalidate: true, onsubmit: start },
    h("div", { class: "stack" }, dataPanel(), panel("Model and control", null, plugs), lengthPanel(), otherPanel()),
    h("div", { class: "stack sticky" }, panel("What will happen", button, field("Name", name, "Of the run and its folder."),
      errorOf("name"), status, errorOf("start"), result)));
  load(undefined);
  return { element, end: () => { ended = true; } };
}

/** An input by the declaration of a setting. @param {Setting} setting @param {any} value @param {(value: any) => void} onvalue */
function settingInput({ type, choices, minimum, above, maximum }, value, onvalue) {
  if (choices.length || type === "bool") {
    const convert = (/** @type {string} */ text) => (type === "bool" && text ? text === "true" : text);
    return choice([["", "(default)"], ...(choices.length ? choices : ["true", "false"])], String(value ?? ""),
      (text) => onvalue(convert(text)));
  }
  if (type === "int" || type === "float")
    return h("input", { type: "number", min: minimum ?? above, max: maximum, step: type === "int" ? 1 : "any", value: value ?? "",
      oninput: (/** @type {any} */ event) => onvalue(event.target.valueAsNumber) });
  const pairs = type === "table" ? Object.entries(value ?? {}).map(([name, item]) => `${name}=${item}`) : type === "list" ? value ?? []
    : [plugName(value)];
  return h("input", { type: "text", value: pairs.join(", "),
    placeholder: { table: "name=value, name=value", list: "name, name" }[/** @type {string} */ (type)], spellcheck: "false",
    oninput: (/** @type {any} */ event) => onvalue(parseText(type, event.target.value.trim())) });
}

/** @param {string} type @param {string} text @returns {any} */
function parseText(type, text) {
  if (text === "" || type === "text" || type === "plug") return text;
  if (type === "size") return valueOf(text);
  const parts = text.split(/,(?![^(]*\))/).map((part) => part.trim()).filter(Boolean);
  return type === "list" ? parts
    : Object.fromEntries(parts.map((part) => [part.split("=")[0].trim(), valueOf(part.slice(part.indexOf("=") + 1).trim())]));
}

/** @param {string} text */
const valueOf = (text) =>
  (text === "true" || text === "false" ? text === "true" : text !== "" && Number.isFinite(Number(text)) ? Number(text) : text);

/** @param {Preview} preview */
function previewOf({ thumbnails, train, held_out, shape, classes, seconds, report_seconds, memory, parameters, notes, skipped,
  skipped_count, command }) {
  const weights = Object.values(parameters ?? {}).reduce((sum, count) => sum + count, 0);
  const names = Array.isArray(classes) ? `${classes.length}: ${classes.slice(0, 6).join(", ")}${classes.length > 6 ? ", …" : ""}`
    : number(classes);
  const facts = { Training: number(train), "Held out": number(held_out), Shape: shape?.join(" × ") ?? "–", Classes: names,
    ...seconds === null ? { Time: "measuring a few steps…" } : { Time: `about ${duration(seconds)}`, Report: duration(report_seconds),
      Memory: memory === null ? "–" : bytes(memory), Weights: weights ? number(weights) : "–" } };
  return [thumbnails.length > 0
    && h("div", { class: "thumbnails" },
      thumbnails.map((src, index) => h("img", { class: "pixels", src, alt: `Training sample ${index + 1}` }))),
    h("dl", { class: "tiles" }, Object.entries(facts).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    notes.length > 0 && h("ul", {}, notes.map((note) => h("li", {}, note))),
    skipped.length > 0 && h("details", { open: true }, h("summary", {}, `${number(skipped_count)} files will be left out`),
      h("ul", { class: "skipped" }, skipped.map((line) => h("li", {}, line)))),
    h("h3", {}, "The same in a terminal"), copyable(command)];
}
