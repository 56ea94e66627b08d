/**
 * The page of one run: everything on one clock.
 * @module
 */
import { coalesce, get, onNews, runPath } from "./api.js";
import { Clock } from "./clock.js";
import { createCurves } from "./curves.js";
import { badge, button, duration, fill, h, isCovered, notifyError, number, prefersStill } from "./dom.js";
import { createFacts, createHealth } from "./facts.js";
import { createActions, createKnobs, Requests } from "./knobs.js";
import { createSamples } from "./samples.js";
import { createTimeline } from "./timeline.js";

/** Milliseconds for which a picture is shown while the clock plays. */
const FRAME = 160;
/** Why a run ended, in words.
 * @type {Record<string, string>} */
const REASONS = { steps: "all steps completed", images: "limit of images reached", seconds: "time limit reached",
  equilibrium: "equilibrium reached", interrupted: "stopped on request", diverged: "diverged" };

/** @param {HTMLElement} root @param {import("./main.js").Params} params */
export async function mount(root, { id, query }) {
  const clock = new Clock(), refresh = coalesce(load, notifyError, 300);
  const requests = new Requests(id, () => { show(); refresh(); });
  const samples = createSamples(id, clock), curves = createCurves(id, clock), timeline = createTimeline(id, clock);
  const health = createHealth(clock, requests), knobs = createKnobs(requests), actions = createActions(id, requests),
    facts = createFacts(id);
  const bar = createClockBar(clock, () => samples.steps);
  const title = h("div", { class: "title" }, h("h1", {}, id)), summary = h("p", { class: "muted summary" }),
    note = h("p", { class: "run-note" }), progress = h("progress", { "aria-label": "Progress of the run" });
  /** @type {RunDetails | null} */
  let details = null;
  let refused = -1;
  /** @type {number[]} steps of checkpoints that are kept */
  let checkpoints = [];
  const path = encodeURIComponent(id);
  const links = { Explore: `explore/${path}`, "Judge checkpoints": `judge/${path}`, Compare: `compare?runs=${path}`,
    Duplicate: `start?from=${path}` };
  fill(root, h("header", { class: "stack run-head" },
    h("div", { class: "title" }, title, h("span", { class: "grow" }), actions.element),
    h("div", { class: "title" }, summary, h("span", { class: "grow" }),
      h("nav", { "aria-label": "Views of this run", class: "subnav" },
        Object.entries(links).map(([text, href]) => h("a", { href: `#/${href}` }, text)))), note, progress),
  bar.element,
  h("div", { class: "run-grid" }, h("div", { class: "stack side" }, samples.element, health.element),
    h("div", { class: "stack" }, timeline.element, curves.element),
    h("div", { class: "stack side" }, knobs.element, facts.element)));

  function show() {
    if (!details) return;
    const { row } = details;
    fill(title, h("h1", {}, id), badge(row.state), row.verdict && badge(row.verdict),
      row.manual && h("span", { class: "chip", title: "A person changed knobs of this run" }, "✎ manual"),
      row.tags.map((tag) => h("span", { class: "chip" }, tag)));
    fill(note, row.note && [h("b", {}, "Note: "), row.note]);
    fill(summary, [row.model, row.data, row.controller].filter(Boolean).join(" · "),
      ` · step ${number(row.step)} of ${number(row.steps)}, ${number(row.images)} images, ${duration(row.seconds)}`,
      row.best && ` · best ${row.best.metric} ${number(row.best.value)} at step ${number(row.best.step)}`,
      row.best && details.better && ` (${details.better} is better)`,
      details.progress.left && ` · ${details.progress.left}`,
      row.state !== "running" && row.reason && ` · ${REASONS[row.reason] ?? row.reason}`);
    progress.hidden = row.state === "finished";
    Object.assign(progress, { max: Math.max(1, row.steps ?? row.step), value: row.step });
    requests.next = details.progress.next;
    knobs.update(details.knobs, row);
    actions.update(row, checkpoints);
  }

  async function load() {
    if (details && isCovered()) return;
    const [next, events, { items }] = await Promise.all([get(runPath(id)), get(runPath(id, "/timeline")),
      get(runPath(id, "/samples")), requests.load()]);
    details = /** @type {RunDetails} */ (next);
    const { step, steps, state } = details.row;
    clock.update({ last: step, end: state === "running" ? steps ?? step : step });
    checkpoints = events.checkpoints.filter((/** @type {{present: boolean}} */ { present }) => present)
      .map((/** @type {{step: number}} */ { step }) => step);
    show();
    curves.shade(events);
    curves.update(details.charts);
    timeline.update(events);
    health.update(details, events);
    samples.update(items);
    facts.update(details);
    bar.update();
    const refusals = /** @type {TimelineAnswer} */ (events).manual.filter((entry) => entry.refused);
    const newest = refusals.at(-1);
    if (newest && refused >= 0 && refusals.length > refused)
      notifyError(`The run refused ${newest.action} ${newest.knob}: ${newest.refused}`);
    refused = refusals.length;
  }
  const parts = [samples, curves, timeline, health, bar];
  const destroy = () => { for (const part of parts) part.destroy(); };
  try {
    await load();
  } catch (error) {
    destroy();
    throw error;
  }
  const start = query.get("step");
  if (start) clock.update({ step: Number(start) });
  let writing = 0;
  const remember = clock.subscribe(() => {
    clearTimeout(writing); // browsers limit how often the address may change
    writing = setTimeout(() => history.replaceState(null, "", `#/run/${path}${clock.state.follow ? "" : `?step=${clock.step}`}`), 300);
  });
  const end = onNews(id, refresh);
  document.addEventListener("visibilitychange", refresh);
  return () => {
    remember();
    end();
    clearTimeout(writing);
    document.removeEventListener("visibilitychange", refresh);
    destroy();
  };
}

/**
 * The slider of the clock with play, and the keys of the page.
 * @param {Clock} clock
 * @param {() => number[]} stops steps with samples
 */
function createClockBar(clock, stops) {
  let timer = 0;
  const slider = h("input", { type: "range", min: 0, id: "clock", "aria-label": "Step",
    oninput: () => clock.update({ step: Number(slider.value) }) });
  const box = h("input", { type: "number", min: 0, "aria-label": "Step, number",
    onchange: () => clock.update({ step: box.valueAsNumber || 0 }) });
  const last = h("span", { class: "muted nowrap" });
  const play = button("", toggle, "play");
  const follow = button("Follow", () => clock.update({ follow: !clock.state.follow }), "small", { title: "Stay at the newest step" });
  const element = h("section", { class: "clock-bar", "aria-label": "Clock" }, play,
    h("label", { for: "clock" }, "Step"), slider, box, last, follow,
    h("small", { class: "muted hint" }, "← → samples, space plays, + − 0 zoom"));

  function stop() {
    clearInterval(timer);
    timer = 0;
    update();
  }

  function toggle() {
    if (timer) return stop();
    if (prefersStill()) return;
    const steps = stops();
    if (clock.step >= (steps.at(-1) ?? 0)) clock.update({ step: steps[0] ?? 0, follow: false });
    timer = setInterval(() => { if (!jump(1)) stop(); }, FRAME);
    update();
  }

  /** Go to the next step with samples; false at the end. @param {1 | -1} direction */
  function jump(direction) {
    const steps = stops(), next = direction > 0 ? steps.find((step) => step > clock.step) : steps.findLast((step) => step < clock.step);
    if (next !== undefined) clock.update({ step: next, follow: false });
    return next !== undefined;
  }

  function update() {
    const still = prefersStill();
    fill(play, timer ? "❚❚" : "▶");
    play.setAttribute("aria-label", timer ? "Pause" : "Play");
    play.disabled = still || stops().length < 2;
    play.title = still ? "Disabled, because this system requests reduced motion" : "Space";
    slider.max = String(clock.state.last);
    slider.value = String(clock.step);
    slider.setAttribute("aria-valuetext", `step ${clock.step} of ${clock.state.last}`);
    if (document.activeElement !== box) box.value = String(clock.step);
    fill(last, `of ${number(clock.state.last)}`);
    follow.setAttribute("aria-pressed", String(clock.state.follow));
  }

  /** @param {KeyboardEvent} event */
  function key(event) {
    const target = /** @type {Element} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey
      || (target !== slider && target.closest("input, textarea, select, button, a, summary, dialog, pre"))) return;
    const zoom = { "+": 0.5, "=": 0.5, "-": 2, 0: 0 }[event.key];
    const move = event.shiftKey ? undefined : { ArrowLeft: () => jump(-1), ArrowRight: () => jump(1), " ": toggle }[event.key];
    const action = zoom === undefined ? move : () => clock.zoom(zoom);
    if (!action) return;
    event.preventDefault();
    action();
  }

  addEventListener("keydown", key);
  const unsubscribe = clock.subscribe(update);
  update();
  return { element, update, destroy() { removeEventListener("keydown", key); clearInterval(timer); unsubscribe(); } };
}
