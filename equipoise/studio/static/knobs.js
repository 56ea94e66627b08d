/**
 * Knobs of a run as sliders, and the buttons that ask the run for something. All are requests that the run takes at its
 * next reading; until then they wait.
 * @module
 */
import { get, post, runPath } from "./api.js";
import { button, closeDialog, continueLink, field, fill, h, notify, notifyError, number, openForm, panel, setAttributes } from "./dom.js";
import { openTags } from "./inputs.js";

const TICKS = 1000;

/** Value of a knob at a position of its slider. @param {KnobState} knob @param {number} position @returns {number} */
export function valueAt(knob, position) {
  const { low, high, scale, off } = knob;
  if (off && position <= 0) return 0;
  const share = Math.min(1, Math.max(0, position / TICKS));
  if (scale === "integer") return Math.round(low + share * (high - low));
  if (scale === "log") return Number((low * (high / low) ** share).toPrecision(3));
  if (scale === "linear") return Number((low + share * (high - low)).toPrecision(4));
  return 1 - Number(((1 - low) * ((1 - high) / (1 - low)) ** share).toPrecision(3));
}

/** Position of a value on the slider of its knob, 0 to 1000. @param {KnobState} knob @param {number} value */
export function positionOf({ low, high, scale, off }, value) {
  if (off && value < low) return 0;
  const share = scale === "log" ? Math.log(value / low) / Math.log(high / low)
    : scale === "integer" || scale === "linear" ? (value - low) / (high - low)
      : Math.log((1 - value) / (1 - low)) / Math.log((1 - high) / (1 - low));
  return Math.round(Math.min(1, Math.max(0, share)) * TICKS);
}

/** @param {KnobState} knob @param {number} value */
const valueText = (knob, value) => (knob.off && value === 0 ? "off" : `${number(value)} ${knob.unit}`.trim());

/** Requests to one run, and those that still wait. */
export class Requests {
  /** @type {WaitingRequest[]} */
  waiting = [];
  /** When the run takes them, in words. */
  next = "";
  /** @param {string} id @param {() => void} onchange called when the list of those that wait may be another */
  constructor(id, onchange) {
    this.id = id;
    this.onchange = onchange;
  }

  async load() {
    const answer = await get(runPath(this.id, "/requests"));
    this.waiting = answer.requests ?? answer;
  }

  /**
   * @param {{action: string, knob?: string, value?: number, text?: string}} body
   * @param {string} text
   * @param {() => void} [undo]
   */
  async send(body, text, undo) {
    try {
      const { request, next } = await post(runPath(this.id, "/requests"), body);
      this.waiting = [...this.waiting, { request, ...body }];
      notify(`${text}: ${next || this.next}`, undo && { action: ["Undo", undo] });
      this.onchange();
    } catch (error) {
      notifyError(error, `${text}: not sent. `);
    }
  }

  /**
   * Set a knob; undo goes back to the manual value before, or releases.
   * @param {string} knob
   * @param {number} value
   * @param {number | null} before
   */
  turn(knob, value, before) {
    return this.send({ action: "turn", knob, value }, `${knob} → ${number(value)}`,
      () => (before === null ? this.release(knob) : this.turn(knob, before, null)));
  }

  /** @param {string} knob */
  release(knob) {
    return this.send({ action: "release", knob }, `${knob} is released to the controller`);
  }
}

/** One knob: slider, number box, mark of the controller's value, buttons. */
class KnobRow {
  draft = false;
  /** @param {KnobState} knob @param {Requests} requests */
  constructor(knob, requests) {
    this.knob = knob;
    this.requests = requests;
    /** @type {number | null | undefined} manual value before the last change here; undefined: no change here */
    this.before = undefined;
    const integer = knob.scale === "integer", id = `knob-${knob.name}`;
    this.slider = h("input", { type: "range", id, min: integer ? knob.low : 0, max: integer ? knob.high : TICKS, step: 1,
        "aria-describedby": `${id}-help`, oninput: () =>
      this.setDraft(integer ? Number(this.slider.value) : valueAt(this.knob, Number(this.slider.value))) });
    this.box = h("input", { type: "number", step: "any", min: knob.off ? 0 : knob.low, max: knob.high, "aria-label": `${knob.name}, value`,
        oninput: () => this.setDraft(this.box.valueAsNumber, false),
        onkeydown: (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Enter") this.commit();
      if (event.key === "Escape") { this.draft = false; this.update(this.knob, true); }
    } });
    this.ghost = h("span", { class: "ghost", hidden: true });
    this.set = button("", () => this.commit(), "primary small");
    this.cancel = button("Cancel", () => {
      this.draft = false;
      this.update(this.knob, this.enabled);
      this.slider.focus();
    }, "quiet small");
    this.release = button("Release", () => requests.release(knob.name), "small",
      { "aria-label": `Release ${knob.name}`, title: "Give the knob back to the controller" });
    this.undo = button("Undo", () => {
      const before = this.before ?? null;
      this.before = undefined;
      if (before === null) requests.release(knob.name); else requests.turn(knob.name, before, null);
    }, "quiet small", { "aria-label": `Undo the change of ${knob.name}` });
    this.state = h("span", { class: "knob-state" });
    this.element = h("li", { class: "knob", "data-knob": knob.name },
      h("div", { class: "knob-head" }, h("label", { for: id }, knob.name), this.state, this.box),
      h("div", { class: "slider" }, this.slider, this.ghost),
        h("small", { class: "muted help", id: `${id}-help` },
          `${knob.help} · ${knob.off ? "off, " : ""}${number(knob.low)} to ${number(knob.high)} ${knob.unit}`),
      h("div", { class: "toolbar knob-actions" }, this.set, this.cancel, this.release, this.undo));
    this.enabled = true;
  }

  /** @param {number} value @param {boolean} [writeBox] */
  setDraft(value, writeBox = true) {
    this.draft = true;
    this.show(value, writeBox);
  }

  commit() {
    const value = this.box.valueAsNumber;
    if (!Number.isFinite(value)) return notify(`${this.knob.name}: not a number`, { kind: "error" });
    this.before = this.knob.manual;
    this.draft = false;
    this.slider.focus();
    this.requests.turn(this.knob.name, value, this.before);
  }

  /** @param {KnobState} knob @param {boolean} enabled */
  update(knob, enabled) {
    this.knob = knob;
    this.enabled = enabled;
    if (!this.draft) this.show(this.pending()?.value ?? knob.value, true);
    else this.show(this.box.valueAsNumber, false);
  }

  pending() { return this.requests.waiting.findLast((item) => item.knob === this.knob.name); }

  /** @param {number} value @param {boolean} writeBox */
  show(value, writeBox) {
    const { knob, slider, box } = this, pending = this.pending(), position = knob.scale === "integer" ? value : positionOf(knob, value);
    if (document.activeElement !== slider || !this.draft) slider.value = String(position);
    setAttributes(slider, { "aria-valuetext": valueText(knob, value) });
    if (writeBox) box.value = String(Number(value.toPrecision(4)));
    slider.disabled = box.disabled = !this.enabled || knob.frozen;
    this.ghost.hidden = knob.manual === null && !pending;
    this.ghost.title = `Value requested by the controller: ${valueText(knob, knob.target)}`;
    this.ghost.style.setProperty("--at",
      String((knob.scale === "integer" ? (knob.target - knob.low) / (knob.high - knob.low) : positionOf(knob, knob.target) / TICKS)));
    this.element.classList.toggle("draft", this.draft);
    fill(this.state, pending ? h("span", { class: "chip waiting" }, "◷ waiting") : knob.frozen
      ? h("span", { class: "chip" }, "frozen") : knob.manual !== null
        && h("span", { class: "chip manual", title: this.ghost.title }, "✎ manual"));
    this.set.hidden = this.cancel.hidden = !this.draft;
    fill(this.set, `Set to ${valueText(knob, value)}`);
    this.release.hidden = this.draft || knob.manual === null || !this.enabled;
    this.undo.hidden = this.draft || this.before === undefined || !this.enabled;
  }
}

/** @param {Requests} requests */
export function createKnobs(requests) {
  /** @type {Map<string, KnobRow>} */
  const rows = new Map();
  const list = h("ul", { class: "knobs" }), note = h("p", { class: "muted" });
  const element = panel("Knobs", null, note, list);
  return {
    element,
    /** @param {KnobState[]} knobs @param {Row} row */
    update(knobs, { state, step }) {
      const acting = knobs.filter((knob) => knob.acts), running = state === "running";
      for (const knob of acting) {
        if (!rows.has(knob.name)) { const row = new KnobRow(knob, requests); rows.set(knob.name, row); list.append(row.element); }
        rows.get(knob.name)?.update(knob, running);
      }
      fill(note, !acting.length ? "The run has not reported yet which knobs have an effect." : running
        ? "Current values. A value that you set overrides the controller and repair until you release it."
          : `Final values, at step ${number(step)}. To change knobs, resume the run, or continue from a checkpoint as a new run.`);
    },
  };
}

/** Buttons that ask the run for something. @param {string} id @param {Requests} requests */
export function createActions(id, requests) {
  const ask = (/** @type {string} */ action, /** @type {string} */ text) =>
    button(text, () => requests.send({ action }, text), "", { "data-action": action });
  const live = h("div", { class: "toolbar" }, ask("sample", "Sample now"), ask("evaluate", "Evaluate now"),
    ask("save", "Save now"), ask("stop", "Stop"));
  const note = button("", () => (row.state === "running" ? openNote(requests) : openTags(row, annotate)));
  const annotate = (/** @type {{tags: string[], note: string}} */ change) =>
    post(runPath(id, "/annotations"), change).then(requests.onchange, (error) => notifyError(error, `${id}: not saved. `));
  const resume = button("Resume", () => openResume(id, row, kept));
  /** @type {Row} */
  let row;
  /** @type {number[]} */
  let kept = [];
  const waiting = h("span", { class: "muted", role: "status" });
  const element = h("div", { class: "toolbar", hidden: true }, live, note, resume, waiting);
  return {
    /** Hidden until the state of the run is known, by which the buttons differ. */
    element,
    /** @param {Row} next @param {number[]} checkpoints steps of those that are kept */
    update(next, checkpoints) {
      [row, kept] = [next, checkpoints];
      const { state } = row, running = state === "running";
      [element.hidden, live.hidden, resume.hidden] = [false, !running, running || state === "damaged"];
      fill(note, running ? "Note …" : "Tags and note …");
      resume.classList.toggle("primary", state !== "finished");
      const actions = requests.waiting.filter((item) => !item.knob).map((item) => item.action);
      fill(waiting, running && actions.length ? `◷ ${actions.join(", ")}: ${requests.next}` : "");
    },
  };
}

/** @param {Requests} requests */
function openNote(requests) {
  const text = h("textarea", { required: true });
  openForm("Note for the log of the run", field("Text", text), "Save",
    () => { requests.send({ action: "note", text: text.value }, "Note"); });
}

/** @param {string} id @param {Row} row @param {number[]} checkpoints */
function openResume(id, { state, step, steps: total }, checkpoints) {
  const value = state === "finished" ? 2 * step : total ?? "";
  const steps = h("input", { type: "number", min: step + 1, value });
  const leave = (/** @type {any} */ event) => { if (event.target.closest("a")) closeDialog(event); };
  openForm("Resume the run", [field("Total steps", steps, `Training continues from step ${number(step)} with the same settings.`),
    checkpoints.length > 0 && h("div", { onclick: leave }, h("p", {}, "To go back, or to change settings and knobs:"),
      h("ul", {}, checkpoints.map((kept) => h("li", {}, continueLink(id, kept)))))], "Resume", () => {
    notify("Starting the process…");
    post(runPath(id, "/resume"), steps.value ? { steps: steps.valueAsNumber } : {}).then(() => notify("The run was resumed."), notifyError);
  });
}
