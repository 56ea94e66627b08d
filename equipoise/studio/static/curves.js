/**
 * The curves of a run: charts by group on one clock; only those on the screen are loaded and drawn.
 * @module
 */
import { coalesce, get, runPath } from "./api.js";
import { Chart } from "./charts.js";
import { fill, h, notifyError, panel, segmented } from "./dom.js";

/** @type {Record<SeriesInfo["group"], {section: string, title: string, range?: [number, number], single?: boolean}>} single: one chart a series */
const GROUPS = {
  loss: { section: "Balance", title: "Loss" }, rank: { section: "Balance", title: "Rank", range: [-1, 1] }, probability: { section: "Balance", title: "D(x)", range: [0, 1] },
  gradient: { section: "Balance", title: "Gradients" }, metric: { section: "Quality", title: "Quality", single: true },
  knob: { section: "Knobs", title: "Knobs", single: true }, signal: { section: "Signals", title: "Signals", single: true },
};
const SECTIONS = ["Balance", "Quality", "Knobs", "Signals"];

/** @param {string} id @param {import("./clock.js").Clock} clock */
export function createCurves(id, clock) {
  /** @type {Map<string, {chart: Chart, names: string[], player: string, visible: boolean}>} */
  const charts = new Map();
  /** @type {import("./charts.js").Shade[]} */
  let shades = [];
  const place = h("div", { class: "curves" });
  const settings = { log: false, smoothing: 0 };
  const reset = h("button", { type: "button", class: "small", hidden: true, onclick: () => clock.update({ range: null }) }, "Whole run");
  const element = panel("Curves", [reset,
    h("label", { class: "check" }, h("span", { class: "muted" }, "Smooth"), h("input", { type: "range", min: 0, max: 0.98, step: 0.02, value: 0, class: "short", "aria-label": "Smoothing",
      oninput: (/** @type {any} */ event) => { settings.smoothing = Number(event.target.value); redraw(); } })),
    h("label", { class: "check" }, h("input", { type: "checkbox", onchange: (/** @type {any} */ event) => { settings.log = event.target.checked; redraw(); } }), "log"),
    segmented("Horizontal axis", { step: "steps", images: "images", seconds: "time" }, clock.state.axis, (axis) => clock.update({ axis: /** @type {"step"} */ (axis) }))], place);
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) for (const entry of charts.values()) if (entry.chart.element === target) entry.visible = isIntersecting;
    refresh();
  }, { rootMargin: "200px" });
  const unsubscribe = clock.subscribe((changed) => {
    reset.hidden = !clock.state.range;
    if (changed.has("range") || changed.has("axis")) refresh();
  });

  function redraw() {
    for (const { chart } of charts.values()) { Object.assign(chart, settings); if (chart.data.x.length) chart.draw(chart.data); }
  }

  const refresh = coalesce(async () => {
    const shown = [...charts.values()].filter(({ visible }) => visible);
    const names = [...new Set(shown.flatMap((entry) => entry.names))];
    if (!names.length) return;
    const [from, to] = clock.state.range ?? [null, null];
    /** @type {SeriesAnswer} */
    const answer = await get(runPath(id, "/series"), { names: names.join(","), x: clock.state.axis, from, to, pixels: 600 });
    const steps = answer.steps ?? answer.x;
    for (const { chart, names, player } of shown) {
      chart.shades = shades;
      chart.draw({ x: answer.x, steps, lines: names.filter((name) => answer.series[name]).map((name) => ({ label: shortName(name).replace(`${player}.`, "").replace(/^rank_/, "").replaceAll("_", " "), ...answer.series[name] })) });
    }
  }, notifyError, 300);

  /** Create the charts of new series; the others stay. @param {SeriesInfo[]} series @param {KnobState[]} knobs */
  function update(series, knobs) {
    const acting = new Set(knobs.filter((knob) => knob.acts).map((knob) => knob.name));
    for (const [group, { section, title, range, single }] of Object.entries(GROUPS)) {
      const members = series.filter((info) => info.group === group && (group !== "knob" || acting.size === 0 || acting.has(shortName(info.name))));
      const sets = single ? members.map((info) => [info]) : group === "loss" ? byPlayer(members) : members.length ? [members] : [];
      for (const set of sets) {
        const key = `${group}:${single ? set[0].name : playerOf(set[0])}`, names = set.map((info) => info.name), old = charts.get(key);
        if (old) { old.names = names; continue; }
        const heading = single ? shortName(set[0].name) : group === "loss" ? `${title}${playerOf(set[0]) ? `: ${playerOf(set[0])}` : ""}` : title;
        const chart = new Chart(heading, clock, { help: single ? set[0].help : set.map((info) => `${shortName(info.name)}: ${info.help}`).join("\n"), unit: single ? set[0].unit : "", range, height: single ? 120 : 176 });
        Object.assign(chart, settings);
        charts.set(key, { chart, names, player: single ? "" : playerOf(set[0]), visible: false });
        sectionBox(section).append(chart.element);
        observer.observe(chart.element);
      }
    }
    refresh();
  }

  /** The box of a section's charts, made at its first one. @param {string} section */
  function sectionBox(section) {
    const old = place.querySelector(`[data-section="${section}"] > div`);
    if (old) return old;
    const order = SECTIONS.indexOf(section), box = h("div", { class: section === "Balance" ? "charts" : "charts several" });
    const folded = h("details", { open: section !== "Signals", class: "group", "data-section": section, "data-order": order }, h("summary", {}, section), box);
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

/** @param {string} name */
const shortName = (name) => name.replace(/^(loss|signal|knob|metric)[./:]/, "");

/** Network whose losses a series belongs to. @param {SeriesInfo} info */
const playerOf = (info) => (info.group === "loss" ? shortName(info.name).split(/[./:]/)[0] : "");

/** @param {SeriesInfo[]} members */
function byPlayer(members) {
  /** @type {Record<string, SeriesInfo[]>} */
  const groups = {};
  for (const info of members) (groups[playerOf(info)] ??= []).push(info);
  return Object.values(groups);
}
