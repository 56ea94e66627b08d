/**
 * The timeline of a run: one lane a kind of event. A click sets the clock and shows the reason.
 * @module
 */
import { fill, h, number, panel, setAttributes, setChildren } from "./dom.js";

/** @typedef {{from: number, to?: number, kind: string, label: string, why: import("./dom.js").Children, mark?: string}} Mark to: end of a span */

/** Width of a mark, and of the names of the lanes, in pixels; nearer marks become one. */
const MARK = 16, NAMES = 136;

/** @param {import("./clock.js").Clock} clock */
export function createTimeline(clock) {
  /** @type {[string, Mark[]][]} */
  let lanes = [];
  let shownText = "";
  /** @type {Map<string, HTMLElement>} lanes and marks on the page */
  const elements = new Map();
  const place = h("div", { class: "lanes" });
  const hand = h("div", { class: "hand" });
  const why = h("div", { class: "why", "aria-live": "polite" }, h("span", { class: "muted" }, "Choose a mark to see what happened and why."));
  const element = panel("Timeline", null, h("div", { class: "lanes-box" }, place, hand), why);
  const unsubscribe = clock.subscribe((changed) => {
    if (changed.has("range") || changed.has("last")) draw();
    moveHand();
  });

  function moveHand() {
    const [from, to] = clock.span;
    hand.style.setProperty("--at", String((clock.step - from) / (to - from)));
    hand.hidden = clock.step < from || clock.step > to;
  }

  /** Draw the lanes; marks that stay keep their element, so that focus and clicks survive news. */
  function draw() {
    const [from, to] = clock.span, old = new Map(elements);
    const bucket = ((to - from) * MARK) / Math.max(160, place.clientWidth - NAMES);
    elements.clear();
    setChildren(place, lanes.map(([name, marks]) => {
      const visible = joined(marks.filter((mark) => (mark.to ?? mark.from) >= from && mark.from <= to), bucket);
      const buttons = visible.map((mark) => {
        const key = `${name} ${mark.from} ${mark.kind}`, element = old.get(key) ?? h("button", { type: "button", tabindex: -1, "aria-pressed": false });
        elements.set(key, element);
        describe(element, mark, name, from, to);
        return element;
      });
      if (buttons.length && !buttons.some((element) => element.tabIndex === 0)) buttons[0].tabIndex = 0;
      const lane = old.get(name) ?? h("div", { class: "lane" }, h("span", { class: "lane-name", title: name }, name), h("div", { class: "track", role: "group", onkeydown: moveFocus }));
      elements.set(name, lane);
      const track = /** @type {HTMLElement} */ (lane.lastElementChild);
      track.setAttribute("aria-label", `${name}: ${marks.length}`);
      setChildren(track, buttons);
      return lane;
    }));
    moveHand();
  }

  /** @param {HTMLElement} element @param {Mark} mark @param {string} lane @param {number} from @param {number} to */
  function describe(element, mark, lane, from, to) {
    const left = Math.max(0, (mark.from - from) / (to - from)), right = Math.min(1, ((mark.to ?? mark.from) - from) / (to - from));
    const span = mark.to === undefined ? "" : ` to ${mark.to}`;
    setAttributes(element, { class: `mark ${mark.kind}${span && " span"}`, title: mark.label, "aria-label": `${lane}, step ${mark.from}${span}: ${mark.label}` });
    if (element.textContent !== (mark.mark ?? "")) fill(element, h("span", { "aria-hidden": true }, mark.mark));
    element.style.setProperty("--left", String(left));
    element.style.setProperty("--width", String(Math.max(0, right - left)));
    element.onclick = () => {
      for (const other of place.querySelectorAll(".mark")) other.setAttribute("aria-pressed", String(other === element));
      clock.update({ step: mark.from, follow: false });
      fill(why, h("div", {}, h("b", {}, lane), h("span", { class: "muted" }, ` · step ${number(mark.from)}${mark.to === undefined ? "" : ` to ${number(mark.to)}`}`)), mark.why);
    };
  }

  /** Arrow keys move between the marks of a lane. @param {KeyboardEvent} event */
  function moveFocus(event) {
    const marks = /** @type {HTMLElement[]} */ ([.../** @type {HTMLElement} */ (event.currentTarget).children]), at = marks.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const next = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: marks.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    for (const mark of marks) mark.tabIndex = -1;
    const target = marks[Math.min(Math.max(next, 0), marks.length - 1)];
    target.tabIndex = 0;
    target.focus();
  }

  return {
    element,
    /** @param {TimelineAnswer} timeline */
    update(timeline) {
      const text = JSON.stringify(timeline);
      if (text === shownText) return moveHand();
      shownText = text;
      lanes = makeLanes(timeline, clock.state.last);
      draw();
    },
    destroy: unsubscribe,
  };
}

/** Join marks without length that are closer than `width` steps. @param {Mark[]} marks @param {number} width @returns {Mark[]} */
function joined(marks, width) {
  /** @type {Map<string, Mark[]>} */
  const buckets = new Map();
  for (const mark of marks) {
    const key = mark.to === undefined ? `${mark.kind} ${Math.floor(mark.from / Math.max(1, width))}` : `span ${mark.from} ${mark.label}`;
    buckets.set(key, [...(buckets.get(key) ?? []), mark]);
  }
  return [...buckets.values()].map((members) => members.length === 1 ? members[0] : { ...members[0], label: `${members.length} events from step ${members[0].from}`,
    why: h("ul", { class: "plain" }, members.slice(0, 40).map((mark) => h("li", {}, h("small", { class: "muted" }, `step ${number(mark.from)} `), mark.why)), members.length > 40 && h("li", {}, `and ${members.length - 40} more`)) });
}

/** @param {TimelineAnswer} timeline @param {number} last @returns {[string, Mark[]][]} */
function makeLanes({ findings, remedies, turns, manual, evaluations, checkpoints, resumes }, last) {
  /** @type {Map<string, Mark[]>} */
  const symptoms = new Map();
  for (const finding of findings) {
    const level = finding.severity >= 0.66 ? "severe" : finding.severity >= 0.33 ? "medium" : "mild";
    const mark = { from: finding.since, to: finding.until ?? last, kind: `finding ${level}`, label: `${level}, ${finding.until === null ? "goes on" : "over"}`,
      why: [h("p", {}, finding.evidence), finding.advice && h("p", { class: "muted" }, finding.advice)] };
    symptoms.set(finding.label, [...(symptoms.get(finding.label) ?? []), mark]);
  }
  const change = (/** @type {Turn} */ turn) => h("span", {}, h("code", {}, turn.knob), ` ${number(turn.from)} → ${number(turn.to)}`, h("span", { class: "muted" }, ` by ${turn.by}${turn.why ? `: ${turn.why}` : ""}`), turn.count && turn.count > 1 && ` (${turn.count} changes)`);
  const best = checkpoints.findLast((item) => item.best);
  /** @type {[string, Mark[]][]} */
  const lanes = [
    ...symptoms,
    ["Remedies", remedies.map((remedy) => ({ from: remedy.step, to: Math.min(remedy.until, Math.max(last, remedy.step)), kind: "remedy", mark: remedy.restored === null ? "" : "↶", label: `${remedy.symptom.replaceAll("_", " ")}, rung ${remedy.rung}${remedy.restored === null ? "" : `, back to step ${remedy.restored}`}`,
      why: [h("p", {}, remedy.why || remedy.symptom.replaceAll("_", " ")), remedy.restored !== null && h("p", {}, `Went back to the checkpoint of step ${number(remedy.restored)}.`)] }))],
    ["Manual", manual.map((entry) => ({ from: entry.step, kind: "manual", mark: "✎", label: `${entry.action} ${entry.knob}`, why: h("span", {}, `${entry.by || "A person"}: ${entry.action} `, h("code", {}, entry.knob), entry.value !== null && ` ${number(entry.value)}`, entry.note && ` “${entry.note}”`, entry.refused && h("span", { class: "error" }, ` refused: ${entry.refused}`)) }))],
    ["Controller", turns.filter((turn) => turn.by !== "manual").map((turn) => ({ from: turn.step, kind: "turn", label: `${turn.knob} ${number(turn.from)} → ${number(turn.to)}`, why: change(turn) }))],
    ["Evaluations", evaluations.map((item) => ({ from: item.step, kind: "evaluation", label: `${item.metric} ${number(item.value)}`, why: h("span", {}, h("code", {}, item.metric), ` ${number(item.value)}`, h("span", { class: "muted" }, `, ${item.better} is better`)) }))],
    ["Checkpoints", checkpoints.map((item) => {
      const [kind, label] = item === best ? ["checkpoint best", "best checkpoint"] : item.present ? ["checkpoint", "checkpoint"] : ["checkpoint gone", "checkpoint, removed since"];
      return { from: item.step, kind, mark: item === best ? "★" : "", label, why: h("span", {}, `${label[0].toUpperCase()}${label.slice(1)}.`) };
    })],
    ["Resumed", resumes.map((item) => ({ from: item.step, kind: "resume", mark: "▶", label: "resumed", why: h("span", {}, "The run was resumed here.") }))],
  ];
  return lanes.filter(([, marks]) => marks.length);
}
