/**
 * The curves of a run: charts by group on one clock; only those on the screen are loaded and drawn.
 * @module
 */
import { coalesce, get, runPath } from "./api.js";
import { Chart } from "./charts.js";
import { button, fill, h, notifyError, panel, segmented } from "./dom.js";

const SECTIONS = ["Balance", "Quality", "Knobs", "Details", "Terms of the losses"];
const FOLDED = ["Details", "Terms of the losses"];

/** @param {string} id @param {import("./clock.js").Clock} clock */
export function createCurves(id, clock) {
  /** @type {Map<string, {chart: Chart, lines: ChartInfo["lines"], visible: boolean}>} */
  const charts = new Map();
  /** @type {import("./charts.js").Shade[]} */
  let shades = [];
  /** @type {number[]} steps at which a person changed a knob */
  let changes = [];
  const place = h("div", { class: "curves" });
  const settings = { log: false, smoothing: 0 };
  const reset = button("Whole run", () => clock.update({ range: null }), "small", { hidden: true });
  const element = panel("Curves", [h("small", { class: "muted" }, "Drag to zoom, double-click for the whole run"), reset,
    h("label", { class: "check" }, h("span", { class: "muted" }, "Smooth"),
      h("input", { type: "range", min: 0, max: 0.98, step: 0.02, value: 0, class: "short", "aria-label": "Smoothing",
      oninput: (/** @type {any} */ event) => { settings.smoothing = Number(event.target.value); redraw(); } })),
    h("label", { class: "check" },
      h("input", { type: "checkbox", onchange: (/** @type {any} */ event) => { settings.log = event.target.checked; redraw(); } }), "log"),
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
    const names = [...new Set(shown.flatMap(({ lines }) => lines.map(({ name }) => name)))];
    if (!names.length) return;
    const [from, to] = clock.state.range ?? [null, null];
    /** @type {SeriesAnswer} */
    const answer = await get(runPath(id, "/series"), { names: names.join(","), x: clock.state.axis, from, to, pixels: 600 });
    const steps = answer.steps ?? answer.x;
    for (const { chart, lines } of shown) {
      Object.assign(chart, { shades, changes });
      chart.draw({ x: answer.x, steps,
        lines: lines.filter(({ name }) => answer.series[name]).map(({ name, label }) => ({ label, ...answer.series[name] })) });
    }
  }, notifyError, 300);

  /** Create the charts that are new; the others stay. @param {ChartInfo[]} infos */
  function update(infos) {
    for (const { section, title, lines, ...info } of infos) {
      const key = `${section}: ${title}`, old = charts.get(key);
      if (old) { old.lines = lines; continue; }
      const chart = new Chart(title, clock,
        { ...info, range: info.range ?? undefined, stepped: section === "Knobs", height: section === "Balance" ? 176 : 128 });
      Object.assign(chart, settings);
      charts.set(key, { chart, lines, visible: false });
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
    /** @param {TimelineAnswer} timeline */
    shade({ findings, manual }) {
      changes = manual.filter(({ action, refused }) => !refused && (action === "turn" || action === "release")).map(({ step }) => step);
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
