/**
 * The timeline of a run: one lane a kind of event. A click sets the clock and shows the reason.
 * @module
 */
import { button, continueLink, fill, h, number, panel, setAttributes, setChildren } from "./dom.js";

/**
 * @typedef {object} Mark
 * @property {number} from
 * @property {number} [to] end of a span
 * @property {string} kind
 * @property {string} label
 * @property {import("./dom.js").Children} why
 * @property {string} [mark] sign on it
 */

/** Width of a mark, and of the names of the lanes, in pixels; nearer marks become one. */
const MARK = 16, NAMES = 136;
/** Number of events of one mark that are listed. */
const MOST = 40;

/** @param {string} id of the run @param {import("./clock.js").Clock} clock */
export function createTimeline(id, clock) {
  /** @type {[string, Mark[]][]} */
  let lanes = [];
  let shownText = "";
  /** @type {Map<string, HTMLElement>} lanes and marks on the page */
  const elements = new Map();
  const place = h("div", { class: "lanes" });
  const hand = h("div", { class: "hand" });
  const why = h("div", { class: "why", "aria-live": "polite" },
    h("span", { class: "muted" }, "Choose a mark to see what happened and why."));
  const element = panel("Timeline", null, h("div", { class: "lanes-box" }, place, hand), why);
  const unsubscribe = clock.subscribe((changed) => {
    if (changed.has("range") || changed.has("last") || changed.has("end")) draw();
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
        const key = `${name} ${mark.from} ${mark.kind}`,
          element = old.get(key) ?? button("", null, "", { tabindex: -1, "aria-pressed": false });
        elements.set(key, element);
        describe(element, mark, name, from, to);
        return element;
      });
      if (buttons.length && !buttons.some((element) => element.tabIndex === 0)) buttons[0].tabIndex = 0;
      const lane = old.get(name) ?? h("div", { class: "lane" }, h("span", { class: "lane-name", title: name }, name),
        h("div", { class: "track", role: "group", onkeydown: moveFocus }));
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
    const left = Math.max(0, (mark.from - from) / (to - from));
    const right = Math.min(1, ((mark.to ?? mark.from) - from) / (to - from));
    const span = mark.to === undefined ? "" : ` to ${mark.to}`;
    setAttributes(element, { class: `mark ${mark.kind}${span && " span"}`, title: mark.label,
        "aria-label": `${lane}, step ${mark.from}${span}: ${mark.label}` });
    if (element.textContent !== (mark.mark ?? "")) fill(element, h("span", { "aria-hidden": true }, mark.mark));
    element.style.setProperty("--left", String(left));
    element.style.setProperty("--width", String(Math.max(0, right - left)));
    element.onclick = () => {
      for (const other of place.querySelectorAll(".mark")) other.setAttribute("aria-pressed", String(other === element));
      clock.update({ step: mark.from, follow: false });
      fill(why, h("div", {}, h("b", {}, lane),
        h("span", { class: "muted" },
          ` · step ${number(mark.from)}${mark.to === undefined ? "" : ` to ${number(mark.to)}`}`)), mark.why);
    };
  }

  /** Arrow keys move between the marks of a lane. @param {KeyboardEvent} event */
  function moveFocus(event) {
    const marks = /** @type {HTMLElement[]} */ ([.../** @type {HTMLElement} */ (event.currentTarget).children]);
    const at = marks.indexOf(/** @type {HTMLElement} */ (document.activeElement));
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
      const text = JSON.stringify([timeline, clock.state.last]);
      if (text === shownText) return moveHand();
      shownText = text;
      lanes = makeLanes(timeline, clock.state.last, id);
      draw();
    },
    destroy: unsubscribe,
  };
}

/**
 * Join marks of one kind and without length that are closer than `width` steps.
 * @param {Mark[]} marks
 * @param {number} width
 * @returns {Mark[]}
 */
function joined(marks, width) {
  /** @type {Mark[][]} */
  const groups = [];
  /** @type {Map<string, Mark[]>} the last group of each kind */
  const open = new Map();
  for (const mark of marks) {
    const group = open.get(mark.kind);
    if (group && mark.to === undefined && mark.from - group[0].from < width) { group.push(mark); continue; }
    const next = [mark];
    groups.push(next);
    if (mark.to === undefined) open.set(mark.kind, next);
  }
  return groups.map((members) => members.length === 1 ? members[0]
    : { ...members[0], label: `${members.length} events from step ${members[0].from}`,
    why: h("ul", { class: "plain" },
      members.slice(0, MOST).map((mark) => h("li", {}, h("small", { class: "muted" }, `step ${number(mark.from)} `), mark.why)),
      members.length > MOST && h("li", {}, `and ${members.length - MOST} more`)) });
}

/** @param {TimelineAnswer} timeline @param {number} last @param {string} id @returns {[string, Mark[]][]} */
function makeLanes({ findings, remedies, turns, manual, evaluations, checkpoints, resumes }, last, id) {
  /** @type {Map<string, Mark[]>} */
  const symptoms = new Map();
  for (const finding of findings) symptoms.set(finding.label, [...(symptoms.get(finding.label) ?? []), findingMark(finding, last)]);
  const best = checkpoints.findLast((item) => item.best);
  /** @type {[string, Mark[]][]} */
  const lanes = [
    ...symptoms,
    ["Remedies", remedies.map((remedy) => remedyMark(remedy, last))],
    ["Manual", manual.map(manualMark)],
    ["Controller", turns.filter((turn) => turn.by !== "manual").map(turnMark)],
    ["Evaluations", evaluations.map(evaluationMark)],
    ["Checkpoints", checkpoints.map((item) => checkpointMark(item, item === best, id))],
    ["Resumed", resumes.map(({ step }) =>
      ({ from: step, kind: "resume", mark: "▶", label: "resumed", why: h("span", {}, "The run was resumed here.") }))],
  ];
  return lanes.filter(([, marks]) => marks.length);
}

/** @param {TimelineFinding} finding @param {number} last @returns {Mark} */
function findingMark({ severity, since, until, evidence, causes, advice }, last) {
  const level = severity >= 0.66 ? "severe" : severity >= 0.33 ? "medium" : "mild";
  return { from: since, to: until ?? last, kind: `finding ${level}`, label: `${level}, ${until === null ? "ongoing" : "ended"}`,
    why: [h("p", {}, evidence), causes.map((cause) => h("p", {}, `${cause}.`)), advice && h("p", { class: "muted" }, "Advice: ", advice)] };
}

/** @param {Remedy} remedy @param {number} last @returns {Mark} */
function remedyMark({ step, symptom, rung, restored, until, overrides, why }, last) {
  const name = symptom.replaceAll("_", " "), back = restored === null ? "" : `, back to step ${restored}`;
  const actions = Object.entries(overrides).map(([knob, value]) => `, ${knob} ${number(value)}`).join("");
  return { from: step, to: Math.min(until, Math.max(last, step)), kind: "remedy", mark: back && "↶",
    label: `${name}, rung ${rung}${actions}${back}`,
    why: [h("p", {}, why || name), back && h("p", {}, `Rolled back to the checkpoint of step ${number(restored)}.`)] };
}

/** @param {ManualEntry} entry @returns {Mark} */
function manualMark({ step, label, note, by, refused }) {
  return { from: step, kind: "manual", mark: "✎", label,
    why: h("span", {}, `${by || "A person"}: ${label}`,
      note && ` “${note}”`, refused && h("span", { class: "error" }, ` refused: ${refused}`)) };
}

/** @param {Turn} turn @returns {Mark} */
function turnMark({ step, knob, from, to, by, why, count }) {
  const change = `${number(from)} → ${number(to)}`;
  return { from: step, kind: "turn", label: `${knob} ${change}`,
    why: h("span", {}, h("code", {}, knob), ` ${change}`, h("span", { class: "muted" }, ` by ${by}${why && `: ${why}`}`),
      count && ` (${count} changes)`) };
}

/** @param {TimelineAnswer["evaluations"][number]} evaluation @returns {Mark} */
function evaluationMark({ step, metric, value, better }) {
  return { from: step, kind: "evaluation", label: `${metric} ${number(value)}`,
    why: h("span", {}, h("code", {}, metric), ` ${number(value)}`, h("span", { class: "muted" }, `, ${better} is better`)) };
}

/** @param {TimelineAnswer["checkpoints"][number]} checkpoint @param {boolean} isBest @param {string} id @returns {Mark} */
function checkpointMark({ step, present }, isBest, id) {
  const label = isBest ? "best checkpoint" : present ? "checkpoint" : "checkpoint, removed since";
  return { from: step, kind: `checkpoint ${isBest ? "best" : present ? "" : "gone"}`.trim(), mark: isBest ? "★" : "", label,
    why: h("span", {}, `${label[0].toUpperCase()}${label.slice(1)}. `, present && continueLink(id, step)) };
}
