/**
 * The report of a run: its curves and samples on one clock. Everything comes from the page itself; see
 * report/interactive.py, which embeds this file.
 * @module
 */
import { Chart, indexAt } from "./charts.js";
import { Clock } from "./clock.js";
import { fill, h, number, prefersStill, segmented } from "./dom.js";

/** @typedef {"step" | "images" | "seconds"} Axis */
/**
 * @typedef {object} ReportChart
 * @property {string} title
 * @property {string} group
 * @property {[number, number] | null} range
 * @property {boolean} stepped
 * @property {number[]} steps
 * @property {import("./charts.js").Line[]} lines
 */
/**
 * @typedef {object} ReportData
 * @property {number} last
 * @property {ReportChart[]} charts
 * @property {Record<Axis, number[]>} clock
 * @property {import("./charts.js").Shade[]} findings
 * @property {{step: number, caption: string, source: string}[]} samples
 */

const PAUSE = 600;

/** @type {ReportData} */
const report = JSON.parse(document.getElementById("run-data")?.textContent ?? "{}");
const reportPlace = /** @type {HTMLElement} */ (document.getElementById("interactive"));
const clock = new Clock();
clock.update({ last: report.last });

/** Position of a step on the axis, between readings in proportion. @param {number} step @param {Axis} axis */
function positionOf(step, axis) {
  const { step: steps, [axis]: values } = report.clock;
  if (axis === "step" || !steps.length) return step;
  const index = Math.min(indexAt(steps, step), Math.max(0, steps.length - 2));
  const [from, to] = [steps[index], steps[index + 1] ?? steps[index]];
  const share = to > from ? (step - from) / (to - from) : 1;
  return Math.max(0, values[index] + share * ((values[index + 1] ?? values[index]) - values[index]));
}

const charts = report.charts.map((item) => {
  const chart = new Chart(item.title, clock, { range: item.range ?? undefined, stepped: item.stepped });
  chart.shades = report.findings;
  return { item, chart };
});

function drawCharts() {
  const { axis, range } = clock.state;
  for (const { item, chart } of charts) {
    const [first, last] = range ? [indexAt(item.steps, range[0]), indexAt(item.steps, range[1]) + 1] : [0, item.steps.length];
    const part = (/** @type {(number | null)[] | undefined} */ values) => values?.slice(first, last);
    const steps = item.steps.slice(first, last);
    chart.draw({ steps, x: axis === "step" ? steps : steps.map((step) => positionOf(step, axis)),
      lines: item.lines.map((line) => ({ ...line, last: line.last.slice(first, last), min: part(line.min), max: part(line.max) })) });
  }
}

/** The samples at the clock, with a slider over their steps and a button that plays them. */
function sampleFigure() {
  const { samples } = report;
  if (samples.length < 2) return null;
  const steps = samples.map(({ step }) => step);
  const picture = h("img", { alt: "" }), caption = h("figcaption", {});
  const bar = h("input",
    { type: "range", min: 0, max: steps.length - 1, value: steps.length - 1, "aria-label": "Step of the samples",
      oninput: () => clock.update({ step: steps[bar.valueAsNumber] }) });
  let timer = 0;
  const stop = () => { clearInterval(timer); timer = 0; play.textContent = "Play"; };
  const play = h("button", { type: "button", hidden: prefersStill(), onclick: () => {
    if (timer) return stop();
    play.textContent = "Stop";
    bar.value = bar.valueAsNumber === steps.length - 1 ? "0" : bar.value;
    timer = setInterval(() => {
      clock.update({ step: steps[bar.valueAsNumber + 1] });
      if (bar.valueAsNumber === steps.length - 1) stop();
    }, PAUSE);
  } }, "Play");
  const show = () => {
    const index = indexAt(steps, clock.step);
    bar.value = String(index);
    bar.setAttribute("aria-valuetext", `step ${steps[index]}`);
    picture.src = samples[index].source;
    picture.alt = `Generated samples, ${samples[index].caption}`;
    fill(caption, samples[index].caption);
  };
  clock.subscribe(show);
  show();
  return h("figure", { class: "samples sheet" }, picture, h("div", { class: "toolbar" }, play, bar), caption);
}

/** @param {string} group */
const chartsOf = (group) => charts.filter(({ item }) => item.group === group).map(({ chart }) => chart.element);
const groups = [...new Set(report.charts.map(({ group }) => group))];
const reset = h("button", { type: "button", hidden: true, onclick: () => clock.update({ range: null }) }, "Whole run");
fill(reportPlace, sampleFigure(), h("div", {},
  h("div", { class: "toolbar" }, h("span", { class: "note" }, "Click on a curve to set the step; drag to zoom."),
    h("output", { id: "clock-step" }), reset,
    segmented("Horizontal axis", { step: "steps", images: "images", seconds: "time" }, "step",
      (axis) => clock.update({ axis: /** @type {Axis} */ (axis) }))),
  groups.map((group, index) =>
    h("details", { open: index === 0, ontoggle: drawCharts }, h("summary", {}, group), h("div", { class: "charts" }, chartsOf(group))))));
const showStep = () => fill(/** @type {HTMLElement} */ (document.getElementById("clock-step")), `step ${number(clock.step)}`);
clock.subscribe((changed) => {
  showStep();
  reset.hidden = !clock.state.range;
  if (changed.has("axis") || changed.has("range")) drawCharts();
});
document.documentElement.classList.add("interactive");
reportPlace.hidden = false;
showStep();
drawCharts();
