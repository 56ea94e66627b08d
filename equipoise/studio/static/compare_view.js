/**
 * Runs against each other: the settings that differ, curves over each other, samples of the same step next to each
 * other. Without runs: the pages that `equipoise compare` has written.
 * @module
 */
import { coalesce, get, onNews, runPath, url } from "./api.js";
import { Chart } from "./charts.js";
import { Clock } from "./clock.js";
import { badge, button, field, fill, h, notify, notifyError, number, panel, segmented } from "./dom.js";
import { choice } from "./inputs.js";

/** @typedef {"step" | "images" | "seconds"} Axis */
/** @typedef {{settings: {name: string, values: Record<string, unknown>}[], samples: {step: number}[], same_latents: boolean}} Comparison */

const FAVOURITES = ["rank_train_fake", "rank_train_held_out", "probability_fake"];
const MAX_CHARTS = 4;
const SAMPLES = 36;

/** @param {HTMLElement} root @param {import("./main.js").Params} params */
export async function mount(root, { query }) {
  const ids = (query.get("runs") ?? "").split(",").filter(Boolean);
  /** @type {{runs: Row[]}} */
  const { runs } = await get("/api/runs");
  const rows = new Map(runs.map((row) => [row.id, row])), known = ids.filter((id) => (rows.get(id)?.state ?? "newer") !== "newer");
  for (const id of ids)
    if (!known.includes(id)) notify(rows.get(id)?.problem ?? `There is no run ${id} any more.`, { kind: "error" });
  const title = h("div", { class: "title" }, h("h1", {}, "Compare runs"), picker(runs, known));
  if (!known.length) {
    fill(root, title, h("p", { class: "empty" }, "Choose two or more runs to compare their settings, curves and samples."),
      await comparisons());
    return () => {};
  }
  const table = h("div", {}), samples = h("div", {}), chosen = { step: Infinity };
  let common = -1;
  /** @returns {Promise<RunDetails[]>} */
  const read = async () => {
    const [comparison, ...details] = await Promise.all([get("/api/compare", { runs: known.join(",") }),
      ...known.map((id) => get(runPath(id)))]);
    fill(table, settingsTable(known, details, comparison));
    if (common !== comparison.samples.length) fill(samples, sampleRows(known, comparison, chosen));
    common = comparison.samples.length;
    return details;
  };
  const curves = overlaid(known, await read());
  fill(root, title, table, curves.element, samples, await comparisons());
  curves.refresh();
  const update = coalesce(async () => void await Promise.all([read(), curves.refresh()]), notifyError);
  const ends = [curves.destroy, ...known.map((id) => onNews(id, () => void update()))];
  return () => ends.forEach((end) => end());
}

/** The runs that are compared, and one to add. @param {Row[]} runs @param {string[]} ids */
function picker(runs, ids) {
  const go = (/** @type {string[]} */ next) => { location.hash = url("#/compare", { runs: next.join(",") || null }); };
  const others = runs.filter(({ id, archived }) => !ids.includes(id) && !archived);
  return [ids.map((id, index) => h("span", { class: "chip run-chip", "data-line": index % 8 + 1 }, h("i", { class: "swatch" }), id,
    button("✕", () => go(ids.filter((other) => other !== id)), "quiet small", { "aria-label": `Remove ${id}` }))),
  others.length > 0 && choice([["", "Add a run…"], ...others.map(({ id }) => id)], "", (id) => go([...ids, id]),
    { "aria-label": "Add a run" })];
}

/** @param {string[]} ids @param {RunDetails[]} details @param {Comparison} comparison */
function settingsTable(ids, details, { settings }) {
  const show = (/** @type {unknown} */ value) =>
    (value === null || value === undefined ? "–" : typeof value === "number" ? number(value) : typeof value === "object"
      ? JSON.stringify(value) : String(value));
  const best = (/** @type {Row} */ row) => row.best ? `${row.best.metric} ${number(row.best.value)} at step ${number(row.best.step)}` : "–";
  return panel("What differs", null, h("div", { class: "scroll" }, h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Setting"),
      ids.map((id) => h("th", { scope: "col" }, h("a", { href: `#/run/${encodeURIComponent(id)}` }, id))))),
    h("tbody", {},
      settings.map(({ name, values }) => h("tr", {}, h("th", { scope: "row" }, name), ids.map((id) => h("td", {}, show(values[id]))))),
      h("tr", {}, h("th", { scope: "row" }, "state"),
        details.map(({ row }) =>
          h("td", {}, badge(row.state), " ", row.verdict && badge(row.verdict),
            row.manual && h("span", { class: "chip" }, "manual control")))),
      h("tr", {}, h("th", { scope: "row" }, "best"), details.map(({ row }) => h("td", {}, best(row)))),
      h("tr", {}, h("th", { scope: "row" }, "steps"),
        details.map(({ row }) => h("td", {}, `${number(row.step)} of ${number(row.steps)}`)))))),
  settings.length === 0 && h("p", { class: "muted" }, ids.length < 2 ? "Add a second run to see what differs."
    : "No setting differs, and nobody changed a knob by hand: these runs repeat each other."));
}

/** Series of several runs on one axis, one chart a series, one line a run. @param {string[]} ids @param {RunDetails[]} details */
function overlaid(ids, details) {
  const names = [...new Set(details.flatMap(({ series }) => series.map(({ name }) => name)))];
  const infos = new Map(details.flatMap(({ series }) => series.map((info) => /** @type {[string, SeriesInfo]} */ ([info.name, info]))));
  const metrics = names.filter((name) => infos.get(name)?.group === "metric");
  const totals = names.filter((name) => /total/.test(name));
  const shown = new Set([...metrics.slice(0, 2), ...FAVOURITES.flatMap((name) => names.filter((other) => other.endsWith(name))),
    ...totals].slice(0, MAX_CHARTS));
  const clock = new Clock();
  /** @type {Map<string, Chart>} */
  const charts = new Map();
  const place = h("div", { class: "charts several" });
  const refresh = coalesce(async () => {
    const axis = clock.state.axis;
    const [from, to] = clock.state.range ?? [null, null];
    /** @type {SeriesAnswer[]} */
    const answers = await Promise.all(ids.map((id) =>
      get(runPath(id, "/series"),
        { names: [...shown].join(","), x: axis, from: axis === "step" ? from : null, to: axis === "step" ? to : null, pixels: 600 })));
    const last = Math.max(1, ...answers.map(({ x }) => x.at(-1) ?? 0));
    clock.update({ last });
    for (const name of shown) {
      const chart = charts.get(name) ?? new Chart(name.replace(/^\w+:/, ""), clock,
        { unit: infos.get(name)?.unit, help: infos.get(name)?.help, stepped: infos.get(name)?.group === "knob" });
      if (!charts.has(name)) place.append(chart.element);
      charts.set(name, chart);
      chart.draw(joined(ids, answers, name));
    }
  }, notifyError);
  /** @param {string} name */
  const toggle = (name) => {
    if (!shown.delete(name)) return void (shown.add(name), refresh());
    charts.get(name)?.destroy();
    charts.get(name)?.element.remove();
    charts.delete(name);
  };
  const chooser = h("details", {}, h("summary", {}, "Series"),
    h("div", { class: "toolbar" }, names.map((name) => h("label", { class: "check" },
    h("input", { type: "checkbox", checked: shown.has(name), onchange: () => toggle(name) }), name))));
  const reset = button("Whole runs", () => clock.update({ range: null }), "small", { hidden: true });
  const element = panel("Curves", [reset, segmented("Horizontal axis", { step: "steps", images: "images", seconds: "time" }, "step",
    (axis) => { clock.update({ axis: /** @type {Axis} */ (axis), range: null, last: 0 }); refresh(); })], chooser, place);
  const unsubscribe = clock.subscribe((changed) => { reset.hidden = !clock.state.range; if (changed.has("range")) refresh(); });
  return { element, refresh, destroy: () => { unsubscribe(); for (const chart of charts.values()) chart.destroy(); } };
}

/**
 * One series of several runs on one axis: the union of their positions.
 * @param {string[]} ids
 * @param {SeriesAnswer[]} answers
 * @param {string} name
 * @returns {import("./charts.js").ChartData}
 */
function joined(ids, answers, name) {
  const x = [...new Set(answers.flatMap((answer) => answer.series[name] ? answer.x : []))].sort((a, b) => a - b);
  const places = new Map(x.map((value, index) => [value, index]));
  const lines = ids.map((label, run) => {
    const bins = answers[run].series[name];
    const spread = (/** @type {(number | null)[] | undefined} */ values) => {
      const column = /** @type {(number | null)[]} */ (new Array(x.length).fill(null));
      values?.forEach((value, index) => { column[places.get(answers[run].x[index]) ?? 0] = value; });
      return column;
    };
    return { label, last: spread(bins?.last), min: spread(bins?.min), max: spread(bins?.max) };
  });
  return { x, steps: x, lines };
}

/**
 * Samples of each run at one step that all have.
 * @param {string[]} ids
 * @param {Comparison} comparison
 * @param {{step: number}} chosen the step that is shown; above all steps: the newest
 */
function sampleRows(ids, { samples, same_latents: same }, chosen) {
  const steps = samples.map(({ step }) => step);
  if (!steps.length) return panel("Samples", null, h("p", { class: "muted" }, "These runs have saved samples at no common step."));
  const pictures = ids.map((id) => h("img", { class: "pixels wide", alt: "", "data-run": id }));
  const output = h("output", {});
  const show = () => {
    const step = steps[bar.valueAsNumber];
    chosen.step = bar.valueAsNumber < steps.length - 1 ? step : Infinity;
    fill(output, `step ${number(step)}`);
    bar.setAttribute("aria-valuetext", `step ${step}`);
    pictures.forEach((picture, index) => {
      picture.src = url(runPath(ids[index], `/samples/${step}.png`), { limit: SAMPLES });
      picture.alt = `Samples of ${ids[index]} at step ${step}`;
    });
  };
  const bar = h("input", { type: "range", min: 0, max: steps.length - 1, value: steps.findLastIndex((step) => step <= chosen.step),
      "aria-label": "Step of the samples", oninput: show });
  show();
  return panel(ids.length > 1 && same ? "Samples of the same latents" : "Samples at the same step", output, bar,
    h("div", { class: "side-by-side" }, pictures.map((picture, index) => h("figure", {},
    h("figcaption", { class: "run-chip", "data-line": index % 8 + 1 }, h("i", { class: "swatch" }), ids[index], " ",
      h("a", { href: `#/judge/${encodeURIComponent(ids[index])}` }, "judge two steps"), " · ",
      h("a", { href: `#/explore/${encodeURIComponent(ids[index])}` }, "explore")), picture))),
  ids.length > 1 && h("p", { class: "muted" }, same ? "The same seed, data and model: each place in the grid has the same latent."
    : "The seeds, data or models differ, so the latents do, too: compare the sheets as a whole, not sample by sample."));
}

/** The pages of `equipoise compare`, shown inside. */
async function comparisons() {
  /** @type {{comparisons: {id: string, problem: string}[]}} */
  const { comparisons: pages } = await get("/api/comparisons").catch(() => ({ comparisons: [] }));
  if (!pages.length) return null;
  const place = h("div", {});
  const open = (/** @type {string} */ id) => {
    const problem = pages.find((item) => item.id === id)?.problem;
    fill(place, problem ? h("p", { class: "error" }, problem) : id
      && h("iframe", { class: "inside", title: `Comparison ${id}`, src: `/api/comparisons/${encodeURIComponent(id)}`, sandbox: "" }));
  };
  return panel("Comparisons of controllers", null,
    field("Page written by equipoise compare", choice([["", "Choose…"], ...pages.map(({ id }) => id)], "", open)), place);
}
