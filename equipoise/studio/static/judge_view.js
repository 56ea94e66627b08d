/**
 * Which of two steps of a run is better: pairs of samples of the same latent, without the steps. The answer is an
 * interval, not a winner after five clicks; then a step can be chosen for `--step chosen`.
 * @module
 */
import { get, post, runPath } from "./api.js";
import { announce } from "./clock.js";
import { field, fill, h, notify, notifyError, number, panel } from "./dom.js";
import { choice, copyable } from "./inputs.js";

/** @typedef {{pair: string, sample: string, left: string, right: string}} Pair left, right: addresses of pictures */
/** @typedef {{a: number, b: number, neither: number, share_a: number | null, low: number | null, high: number | null}} Counts */

const KEYS = /** @type {Record<string, "left" | "right" | "neither">} */ ({ 1: "left", ArrowLeft: "left", 2: "right", ArrowRight: "right", 0: "neither", ArrowDown: "neither" });

/** @param {HTMLElement} root @param {import("./main.js").Params} params */
export async function mount(root, { id, query }) {
  /** @type {[TimelineAnswer, {steps?: number[], chosen?: {step: number, note: string} | null}]} */
  const [timeline, labels] = await Promise.all([get(runPath(id, "/timeline")), get(runPath(id, "/labels"))]);
  const steps = labels.steps ?? timeline.checkpoints.filter(({ present }) => present).map(({ step }) => step);
  const title = h("div", { class: "title" }, h("h1", {}, "Judge two steps of ", h("a", { href: `#/run/${encodeURIComponent(id)}` }, id)));
  if (steps.length < 2) {
    fill(root, title, h("p", { class: "empty" }, "This run has fewer than two checkpoints to compare. Runs keep the last three and the best one."));
    return () => {};
  }
  const best = timeline.checkpoints.find((item) => item.best && steps.includes(item.step))?.step;
  const given = (query.get("steps") ?? "").split(",").map(Number).filter((step) => steps.includes(step));
  const [a = steps[0], b = best !== undefined && best !== a ? best : /** @type {number} */ (steps.at(-1))] = given;
  const view = new JudgeView(id, steps, a, b, labels.chosen ?? null);
  fill(root, title, view.element);
  const onkey = (/** @type {KeyboardEvent} */ event) => view.key(event);
  addEventListener("keydown", onkey);
  await view.start();
  return () => removeEventListener("keydown", onkey);
}

class JudgeView {
  /** @param {string} id @param {number[]} steps @param {number} a @param {number} b @param {{step: number, note: string} | null} chosen */
  constructor(id, steps, a, b, chosen) {
    this.id = id;
    this.pair = /** @type {Pair | null} */ (null);
    this.history = /** @type {Pair[]} */ ([]);
    this.busy = false;
    this.a = a;
    this.b = b;
    const options = steps.map((step) => /** @type {[string, string]} */ ([String(step), `Step ${number(step)}`]));
    const pick = (/** @type {"a" | "b"} */ side) => choice(options, String(this[side]), (step) => { this[side] = Number(step); this.start(); });
    this.left = h("img", { class: "pixels wide", alt: "The first sample" });
    this.right = h("img", { class: "pixels wide", alt: "The second sample" });
    this.result = h("div", { class: "stack", "aria-live": "polite" });
    this.chosen = h("div", { class: "stack" });
    this.drawChosen(chosen);
    const answer = (/** @type {"left" | "right" | "neither"} */ side, /** @type {string} */ key, /** @type {string} */ text) => h("button", { type: "button", onclick: () => this.answer(side) }, h("kbd", {}, key), text);
    this.element = [
      panel("Which one is better?", [field("One", pick("a")), field("The other", pick("b"))],
        h("div", { class: "pair" }, h("figure", {}, this.left, answer("left", "1", "This one")), h("figure", {}, this.right, answer("right", "2", "This one"))),
        h("div", { class: "toolbar centre" }, answer("neither", "0", "Neither"), h("button", { type: "button", onclick: () => this.undo() }, h("kbd", {}, "U"), "Undo")),
        h("p", { class: "muted" }, "Both are of the same latent. Sides are drawn by lot, and the steps are hidden until you look at the result.")),
      h("div", { class: "columns" }, panel("Result so far", null, h("details", { open: false }, h("summary", {}, "Show it"), this.result)), panel("Choose a step", null, this.chosen)),
    ];
  }

  get steps() { return { a: this.a, b: this.b }; }

  async start() {
    this.history = [];
    if (this.a === this.b) return void fill(this.result, h("p", { class: "error" }, "Both are the same step: choose two steps."));
    await Promise.all([this.next(), this.count()]).catch(notifyError);
  }

  async next() {
    this.show(await get(runPath(this.id, "/pair"), { ...this.steps, n: this.history.length }));
  }

  /** @param {Pair} pair */
  show(pair) {
    this.pair = pair;
    this.left.src = pair.left;
    this.right.src = pair.right;
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || /INPUT|SELECT|TEXTAREA/.test(/** @type {Element} */ (event.target).tagName)) return;
    if (event.key === "u" || event.key === "Backspace") this.undo();
    else if (KEYS[event.key]) this.answer(KEYS[event.key]);
    else return;
    event.preventDefault();
  }

  /** @param {"left" | "right" | "neither"} answer */
  async answer(answer) {
    const { pair } = this;
    if (!pair || this.busy) return;
    this.busy = true;
    try {
      await post(runPath(this.id, "/labels"), { kind: "pair", pair: pair.pair, answer });
      this.history.push(pair);
      await Promise.all([this.next(), this.count()]);
      announce(`Answer ${this.history.length}: ${answer}`);
    } catch (error) {
      notifyError(error);
    }
    this.busy = false;
  }

  /** Show the last pair again; the next answer replaces its answer. */
  undo() {
    const pair = this.history.pop();
    if (!pair) return notify("There is no answer to undo.");
    this.show(pair);
    announce("The last pair again");
  }

  async count() {
    /** @type {Counts} */
    const counts = await get(runPath(this.id, "/labels"), this.steps);
    const { share_a: share, low, high } = counts;
    const decided = counts.a + counts.b;
    const percent = (/** @type {number} */ part) => `${Math.round(100 * part)} %`;
    const words = share === null || low === null || high === null ? "No answer yet." : low > 0.5 ? `Step ${number(this.a)} is better.` : high < 0.5 ? `Step ${number(this.b)} is better.` : "Not decided: the interval holds one half.";
    fill(this.result, h("p", {}, h("strong", {}, words)),
      share !== null && low !== null && high !== null && [h("meter", { min: 0, max: 1, value: share, "aria-label": `Share won by step ${this.a}` }),
        h("p", {}, `Step ${number(this.a)} won ${counts.a} of ${decided} (${percent(share)}), with 95 % confidence ${percent(low)} to ${percent(high)}.`)],
      counts.neither > 0 && h("p", { class: "muted" }, `Neither: ${counts.neither}, which do not count.`));
    fill(this.chosenButtons, [this.a, this.b].map((step) => h("button", { type: "button", onclick: () => this.choose(step) }, `Choose step ${number(step)}`)));
  }

  chosenButtons = h("div", { class: "toolbar" });

  /** @param {{step: number, note: string} | null} chosen */
  drawChosen(chosen) {
    this.note = h("input", { type: "text", maxlength: 200, value: chosen?.note ?? "" });
    fill(this.chosen, h("p", {}, chosen ? [h("strong", {}, `Step ${number(chosen.step)}`), " is chosen. Commands take it with --step chosen:"] : "Its weights are kept, and commands take them with --step chosen."),
      chosen && copyable(`equipoise sample ${this.id} --step chosen --out samples.png`), field("Why (optional)", this.note), this.chosenButtons);
  }

  /** @param {number} step */
  async choose(step) {
    try {
      await post(runPath(this.id, "/chosen"), { step, note: this.note?.value ?? "" });
      this.drawChosen({ step, note: this.note?.value ?? "" });
      notify(`Step ${number(step)} is chosen.`);
    } catch (error) {
      notifyError(error);
    }
  }
}
