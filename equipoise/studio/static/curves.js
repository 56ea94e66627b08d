/**
 * The curves of a run: charts by group on one clock; only those on the screen are loaded and drawn.
 * @module
 */
import { coalesce, get, runPath } from "./api.js";
import { Chart } from "./charts.js";
import { fill, h, notifyError, panel, segmented } from "./dom.js";

/**
 * @typedef {object} Family series of one chart
 * @property {string} key
 * @property {string} section
 * @property {string} title
 * @property {[number, number]} [range] of the vertical axis
 * @property {SeriesInfo[]} info
 */

/** Charts with several series: section, title, names, range of the vertical axis. Other series have a chart each.
 * @type {[string, string, RegExp, [number, number]?][]} */
const FAMILIES = [
  ["Balance", "Loss", /^loss_[gd]$/],
  ["Balance", "Rank", /^rank_/, [-1, 1]],
  ["Balance", "D(x)", /^(probability_|accuracy_d$)/, [0, 1]],
  ["Balance", "Gradient norm", /^gradient_norm_/],
  ["Details", "Adversarial loss", /^(adversarial_[gd]|ideal_d)$/],
  ["Details", "Loss of D on reals and fakes", /^loss_d_/],
  ["Details", "Sign of the logits", /^sign_/, [-1, 1]],
  ["Details", "Logit", /^logit_/],
  ["Details", "Relative update", /^update_ratio_/],
];
const SECTIONS = ["Balance", "Quality", "Knobs", "Details", "Terms of the losses"];
const FOLDED = ["Details", "Terms of the losses"];

/** The charts of some series. @param {SeriesInfo[]} series @returns {Family[]} */
function families(series) {
  /** @type {Map<string, Family>} */
  const result = new Map();
  for (const info of series) {
    const family = info.group === "metric" || info.group === "knob" ? undefined : FAMILIES.find(([, , pattern]) => pattern.test(info.name));
    const phase = info.group === "loss" && info.name.includes(".") ? info.name.split(".")[0] : "";
    const [section, title, , range] = family ?? (phase ? ["Terms of the losses", phase]
      : [{ metric: "Quality", knob: "Knobs" }[/** @type {string} */ (info.group)] ?? "Details", info.name]);
    const key = `${section}: ${title}`;
    result.set(key, { key, section, title, range, info: [...(result.get(key)?.info ?? []), info] });
  }
  return [...result.values()];
}

/** Name of a series in the legend of its chart. @param {string} name */
function lineName(name) {
  const short = name.replace(/^[^.]*\./,
    "").replace(/^(rank|probability|sign|logit|loss_d|loss|gradient_norm|update_ratio|adversarial)_/, "");
  return short.length === 1 ? short.toUpperCase() : short.replaceAll("_", " ");
}

/** @param {string} id @param {import("./clock.js").Clock} clock */
export function createCurves(id, clock) {
  /** @type {Map<string, {chart: Chart, names: string[], visible: boolean}>} */
  const charts = new Map();
  /** @type {import("./charts.js").Shade[]} */
  let shades = [];
  const place = h("div", { class: "curves" });
  const settings = { log: false, smoothing: 0 };
  const reset = h("button", { type: "button", class: "small", hidden: true, onclick: () => clock.update({ range: null }) }, "Whole run");
  const element = panel("Curves", [reset,
    h("label", { class: "check" }, h("span", { class: "muted" }, "Smooth"),
      h("input", { type: "range", min: 0, max: 0.98, step: 0.02, value: 0, class: "short", "aria-label": "Smoothing",
      oninput: (/** @type {any} */ event) => { settings.smoothing = Number(event.target.value); redraw(); } })),
    h("label", { class: "check" },
      h("input", { type: "checkbox",
        onchange: (/** @type {any} */ event) => { settings.log = event.target.checked; redraw(); } }), "log"),
    segmented("Horizontal axis", { step: "steps", images: "images", seconds: "time" }, clock.state.axis,
      (axis) => clock.update({ axis: /** @type {"step"} */ (axis) }))], place);
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const entry = [...charts.values()].find(({ chart }) => chart.element === target);
      if (entry) entry.visible = isIntersecting;
    }
    refresh();
  }, { rootMargin: "200px" });
  const unsubscribe = clock.subscribe((changed) => {
    reset.hidden = !clock.state.range;
    if (changed.has("range") || changed.has("axis")) refresh();
  });

  function redraw() {
    for (const { chart } of charts.values()) { Object.assign(chart,
      settings); if (chart.data.x.length) chart.draw(chart.data); }
  }

  const refresh = coalesce(async () => {
    const shown = [...charts.values()].filter(({ visible }) => visible);
    const names = [...new Set(shown.flatMap((entry) => entry.names))];
    if (!names.length) return;
    const [from, to] = clock.state.range ?? [null, null];
    /** @type {SeriesAnswer} */
    const answer = await get(runPath(id, "/series"), { names: names.join(","), x: clock.state.axis, from, to, pixels: 600 });
    const steps = answer.steps ?? answer.x;
    for (const { chart, names } of shown) {
      chart.shades = shades;
      chart.draw({ x: answer.x, steps,
        lines: names.filter((name) => answer.series[name]).map((name) =>
          ({ label: lineName(name), ...answer.series[name] })) });
    }
  }, notifyError, 300);

  /**
   * Create the charts of new series; the others stay. Knobs that never changed have none.
   * @param {SeriesInfo[]} series
   * @param {Turn[]} turns
   */
  function update(series, turns) {
    const turned = new Set(turns.map(({ knob }) => knob));
    for (const { key, section, title, range,
      info } of families(series.filter(({ group, name }) => group !== "knob" || turned.has(name)))) {
      const names = info.map(({ name }) => name), old = charts.get(key);
      if (old) { old.names = names; continue; }
      const help = info.map((item) => (info.length > 1 ? `${item.name}: ${item.help}` : item.help)).join("\n");
      const chart = new Chart(title, clock,
        { help, unit: info[0].unit, range, stepped: section === "Knobs", height: section === "Balance" ? 176 : 128 });
      Object.assign(chart, settings);
      charts.set(key, { chart, names, visible: false });
      sectionBox(section).append(chart.element);
      observer.observe(chart.element);
    }
    refresh();
  }

  /** The box of a section's charts, made at its first one. @param {string} section */
  function sectionBox(section) {
    const old = place.querySelector(`[data-section="${section}"] > div`);
    if (old) return old;
    const order = SECTIONS.indexOf(section), box = h("div", { class: section === "Balance" ? "charts" : "charts several" });
    const folded = h("details",
      { open: !FOLDED.includes(section), class: "group", "data-section": section, "data-order": order },
      h("summary", {}, section), box);
    place.insertBefore(folded, [...place.children].find((child) => Number(child.getAttribute("data-order")) > order) ?? null);
    return box;
  }

  return {
    element, update, refresh,
    /** @param {TimelineFinding[]} findings */
    shade(findings) {
      shades = findings.map(({ since, until, severity }) => ({ from: since, to: until ?? clock.state.last, severe: severity >= 0.66 }));
    },
    destroy() {
      unsubscribe();
      observer.disconnect();
      for (const { chart } of charts.values()) chart.destroy();
      fill(place);
    },
  };
}
