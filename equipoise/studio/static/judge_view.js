/**
 * Which of two steps of a run is better: pairs of samples of the same latent, without the steps. The answer is an
 * interval, not a winner after five clicks; then a step can be chosen for `--step chosen`.
 * @module
 */
import { get, post, runPath } from "./api.js";
import { announce } from "./clock.js";
import { button, field, fill, h, notify, notifyError, number, panel } from "./dom.js";
import { choice, copyable } from "./inputs.js";

/** @typedef {{pair: string, left: string, right: string}} Pair left, right: addresses of pictures */
/** @typedef {{words: string, detail: string, winner: number | null, share: number | null}} Counts winner: step, if decided */
/** @typedef {{step: number, note: string, command: string} | null} Chosen */

/** @type {Record<string, "left" | "right" | "neither">} */
const KEYS = { 1: "left", 2: "right", 0: "neither" };

/** @param {HTMLElement} root @param {import("./main.js").Params} params */
export async function mount(root, { id, query }) {
  /** @type {[TimelineAnswer, {steps: number[], chosen: Chosen}]} */
  const [{ checkpoints }, { steps, chosen }] = await Promise.all([get(runPath(id, "/timeline")), get(runPath(id, "/labels"))]);
  const title = h("div", { class: "title" }, h("h1", {}, "Judge two steps of ", h("a", { href: `#/run/${encodeURIComponent(id)}` }, id)));
  if (steps.length < 2) {
    fill(root, title, h("p", { class: "empty" },
      "This run has fewer than two checkpoints to compare. Runs keep the last three and the best one."));
    return () => {};
  }
  const best = checkpoints.find((item) => item.best && steps.includes(item.step))?.step, last = /** @type {number} */ (steps.at(-1));
  const [a = best === last ? steps[0] : best ?? steps[0],
    b = last] = (query.get("steps") ?? "").split(",").map(Number).filter((step) => steps.includes(step));
  const view = createJudge(id, steps, [a, b], chosen);
  fill(root, title, view.element);
  addEventListener("keydown", view.key);
  view.start();
  return () => removeEventListener("keydown", view.key);
}

/** @param {string} id @param {number[]} steps @param {[number, number]} compared @param {Chosen} before the step that is chosen already */
function createJudge(id, steps, compared, before) {
  /** @type {Pair | null} */
  let current = null;
  /** @type {Pair[]} */
  let answered = [];
  const pictures = ["first", "second"].map((which) => h("img", { class: "pixels wide", alt: `The ${which} sample` }));
  const state = h("p", { class: "muted", role: "status" });
  const result = h("div", { class: "stack", "aria-live": "polite" }), chosenPlace = h("div", { class: "stack" }),
    buttons = h("div", { class: "toolbar" });
  const note = h("input", { type: "text", maxlength: 200, value: before?.note ?? "" });
  const attempt = (/** @type {() => Promise<void>} */ action) => action().catch(notifyError);
  const path = (/** @type {string} */ rest) => runPath(id, rest);

  const start = () => attempt(async () => {
    const [a, b] = compared;
    answered = [];
    current = null;
    fill(buttons, compared.map(chooseButton));
    if (a === b) return fill(result, h("p", { class: "error" }, "Both are the same step: choose two."));
    showCounts(await get(path("/labels"), { a, b }));
    await next();
  });
  const next = async () => show(await get(path("/pair"), { a: compared[0], b: compared[1], n: answered.length }));

  /** Take no answer before the next pair is there. */
  const wait = () => {
    current = null;
    for (const picture of pictures) picture.setAttribute("aria-busy", "true");
    fill(state, "Drawing two samples: the first pair takes some seconds…");
  };
  /** @param {Pair} pair */
  async function show(pair) {
    wait();
    [pictures[0].src, pictures[1].src] = [pair.left, pair.right];
    await Promise.all(pictures.map((picture) =>
      picture.decode().catch(() => { throw new Error("A picture of this pair cannot be drawn; the explorer may say why."); })));
    for (const picture of pictures) picture.removeAttribute("aria-busy");
    fill(state, "Both samples have the same latent. The sides are chosen at random; look at the result when you are done.");
    current = pair;
  }

  const answer = (/** @type {"left" | "right" | "neither"} */ side) => attempt(async () => {
    const pair = current;
    if (!pair) return;
    wait();
    try {
      showCounts(await post(path("/labels"), { kind: "pair", pair: pair.pair, answer: side }));
    } catch (error) {
      notifyError(error, "The answer was not saved. ");
      return show(pair);
    }
    answered.push(pair);
    announce(`Answer ${answered.length}: ${side}`);
    await next();
  });
  /** Show the last pair again; the next answer replaces its answer. */
  const undo = () => attempt(async () => {
    const pair = answered.pop();
    if (!pair) return notify("There is no answer to undo.");
    announce("The last pair again");
    await show(pair);
  });

  /** @param {Counts} counts */
  function showCounts({ words, detail, winner, share }) {
    fill(result, h("p", {}, h("strong", {}, words)), share !== null && h("meter", { min: 0, max: 1, value: share, "aria-label": detail }),
      h("p", {}, detail), winner !== null && chooseButton(winner));
  }

  /** @param {Chosen} chosen */
  const showChosen = (chosen) =>
    fill(chosenPlace, chosen
      ? [h("p", {}, h("strong", {}, `Step ${number(chosen.step)}`), " is chosen. Commands take it with --step chosen:"),
        copyable(chosen.command),
        h("a", { class: "button", href: `#/explore/${encodeURIComponent(id)}?view=grid&step=chosen` }, "Explore the chosen step")]
    : h("p", {}, "The weights of a chosen step are kept, and commands take them with --step chosen."));
  const chooseButton = (/** @type {number} */ step) => button(`Mark step ${number(step)} as chosen`, () => choose(step));
  const choose = (/** @type {number | null} */ step) => attempt(async () => {
    showChosen(await post(path("/chosen"), { step, note: note.value }));
    notify(step === null ? "No step is chosen." : `Step ${number(step)} is chosen.`,
      step === null ? {} : { action: ["Undo", () => choose(before?.step ?? null)] });
  });

  /** @param {KeyboardEvent} event */
  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey
      || /INPUT|SELECT|TEXTAREA/.test(/** @type {Element} */ (event.target).tagName)) return;
    if (event.key.toLowerCase() === "u") undo();
    else if (KEYS[event.key]) answer(KEYS[event.key]);
  }

  const pick = (/** @type {0 | 1} */ side) =>
    choice(steps.map((step) => /** @type {[string, string]} */ ([String(step), `Step ${number(step)}`])), String(compared[side]),
      (step) => { compared[side] = Number(step); start(); });
  const keyed = (/** @type {string} */ key, /** @type {string} */ text, /** @type {() => void} */ onclick) =>
    button([h("kbd", {}, key), text], onclick);
  showChosen(before);
  const element = [panel("Which one is better?", [field("One", pick(0)), field("The other", pick(1))], h("div", { class: "pair" },
      pictures.map((picture, side) => h("figure", {}, picture, keyed(String(side + 1), "This one", () => answer(KEYS[side + 1]))))),
    h("div", { class: "toolbar centre" }, keyed("0", "Neither", () => answer("neither")), keyed("U", "Undo", undo)),
      state),
  h("div", { class: "columns" }, panel("Result so far", null, h("details", {}, h("summary", {}, "Show it"), result)),
    panel("Choose a step", null, chosenPlace, field("Why (optional)", note), buttons))];
  return { element, start, key };
}
