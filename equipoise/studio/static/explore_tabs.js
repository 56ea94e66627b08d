/**
 * The tabs of the explorer: a plane to drag, samples by name, forms that the server describes, translation, projection.
 * @module
 */
import { get, post } from "./api.js";
import { announce } from "./clock.js";
import { button, field, fill, h, number, prefersStill, segmented, setAttributes } from "./dom.js";
import { choice, dropZone, slider } from "./inputs.js";

/** @typedef {import("./explore_view.js").ExploreView} ExploreView */
/** @typedef {import("./explore_view.js").Mode} Mode */

const POLL = 1000;
/** @type {Record<string, number[]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
/** Sign and text of the marks of a sample. @type {Record<string, [string, string]>} */
export const MARKS = { keep: ["✓", "good"], flaw: ["✕", "flaw"], copy: ["=", "copy"] };

/** @type {Record<string, (view: ExploreView) => Mode>} */
export const TABS = { plane: planeTab, grid: gridTab, translate: translateTab, project: projectTab, form: formTab };

const randomNumber = (/** @type {number} */ most) => Math.floor(Math.random() * most);

/**
 * Inputs of fields that the server describes; what is entered goes into `values`.
 * @param {ExploreView} view
 * @param {import("./explore_view.js").Field[]} fields
 * @param {Record<string, any>} values
 */
export function inputs(view, fields, values) {
  return fields.map(({ name, text, kind, help, neutral, options = [], low = 0, high = 1, step = 1 }) => {
    const set = (/** @type {any} */ next) => { values[name] = next; view.refresh(); }, value = values[name] ?? neutral;
    const read = (/** @type {any} */ { target }) =>
      target.validity.valid && set(kind === "number" ? target.valueAsNumber || 0 : target.value);
    if (kind === "select") return field(text, choice(options, String(value), set), help);
    if (kind === "check") return h("label", { class: "check" },
      h("input", { type: "checkbox", checked: value, onchange: (/** @type {any} */ { target }) => set(target.checked) }), text);
    if (kind === "range") return [slider(text, { low, high, step, value, help }, set).element,
      help && h("small", { class: "muted" }, help)];
    const type = kind === "number" ? kind : "text", input = h("input", { type, min: 0, maxlength: 400, value, oninput: read });
    if (kind === "names") {
      const target = { label: text, add: (/** @type {string} */ added) =>
        set(input.value = [...input.value.split(/[\s,;]+/).filter(Boolean), added].join(", ")) };
      input.addEventListener("focus", () => { view.target = target; view.drawShelf(); });
      view.target ??= target;
    }
    return field(text, input, help);
  });
}

/** A form that the server describes. @param {ExploreView} view @returns {Mode} */
function formTab(view) {
  const { fields, note, fixed } = view.facts.tabs[view.kind], state = view.state();
  return { body: () => ({ ...state, ...fixed }), controls: [inputs(view, fields, state), note && h("p", { class: "muted" }, note),
    h("div", { class: "toolbar" }, button("Reset", () => {
      for (const { name, neutral } of fields) state[name] = neutral;
      view.open(view.kind);
    }))] };
}

/** A plane of seeds: seed x + 100 y at whole numbers, mixed between. @param {ExploreView} view @returns {Mode} */
function planeTab(view) {
  const at = view.state({ x: 0, y: 0, size: 1 }), { place } = view, shown = h("output", { class: "mono" });
  let held = /** @type {{px: number, py: number, x: number, y: number} | null} */ (null), drifting = false;
  /** @param {number} x @param {number} y */
  const move = (x, y) => {
    Object.assign(at, { x: Number(x.toFixed(3)), y: Number(y.toFixed(3)) });
    fill(shown, `x ${at.x.toFixed(2)}  y ${at.y.toFixed(2)}`);
    view.refresh();
  };
  setAttributes(place, { class: "picture-place plane", tabindex: "0", role: "group",
    "aria-label": "Plane of latents: drag it, or press arrow keys; with Shift whole seeds" });
  place.onpointerdown = ({ pointerId, clientX: px, clientY: py }) => { place.setPointerCapture(pointerId); held = { px, py, ...at }; };
  place.onpointerup = place.onpointercancel = () => { held = null; };
  place.onpointermove = (event) => {
    const scale = at.size / Math.max(1, view.whole.picture.clientWidth);
    if (held) move(held.x - (event.clientX - held.px) * scale, held.y - (event.clientY - held.py) * scale);
  };
  place.onkeydown = (event) => {
    const [dx, dy] = ARROWS[event.key] ?? [0, 0];
    if (!dx && !dy) return;
    event.preventDefault();
    if (event.shiftKey) move(Math.round(at.x) + dx, Math.round(at.y) + dy);
    else move(at.x + dx / 10, at.y + dy / 10);
    announce(`x ${at.x.toFixed(1)}, y ${at.y.toFixed(1)}`);
  };
  const drift = button("Drift", () => { drift.setAttribute("aria-pressed", String(drifting = !drifting)); glide(); }, "",
    { hidden: prefersStill(), "aria-pressed": "false" });
  const glide = () => { if (drifting) { move(at.x + 0.012, at.y + 0.005); requestAnimationFrame(glide); } };
  const seed = () => Math.round(at.x) + 100 * Math.round(at.y);
  move(at.x, at.y);
  return { body: () => ({ x: at.x, y: at.y, rows: at.size, columns: at.size }), end: () => { drifting = false; }, controls: [
    h("p", { class: "muted" }, "Drag the picture. At whole numbers x, y it is seed x + 100 y; between them latents are mixed."),
    h("div", { class: "toolbar" }, shown,
      segmented("Pictures", { 1: "1", 3: "3 × 3", 5: "5 × 5" }, String(at.size), (size) => { at.size = Number(size); view.refresh(); })),
    h("div", { class: "toolbar" }, button("Snap", () => move(Math.round(at.x), Math.round(at.y))),
      button("Jump", () => move(randomNumber(100), randomNumber(100))), button("Reset", () => move(0, 0)), drift,
      button("Collect", () => { if (seed() >= 0) view.collect(`${seed()}/0`); }))] };
}

/** A grid of samples of a seed, or of a prompt; one is chosen, as of radio buttons. @param {ExploreView} view @returns {Mode} */
function gridTab(view) {
  const state = view.state({ prompt: "" }), { facts, place, whole: { picture } } = view, { fields } = facts.tabs.grid;
  const cells = h("div", { class: "cells", role: "radiogroup", "aria-label": "Samples. Arrow keys choose one." });
  const form = h("div", { class: "stack" });
  const nameOf = (/** @type {number} */ index) => `${state.seed}/${index}`, isImage = facts.samples === "image";
  const select = (/** @type {number} */ index) => view.collect(nameOf(index), state.prompt);
  const drawForm = () => { fill(form, inputs(view, fields, state)); view.refresh(); };
  const shown = () => {
    const count = isImage ? Number(state.count) : 0, { chosen, marks } = view;
    if (cells.children.length !== count) fill(cells, Array.from({ length: count }, (_, index) => h("label", {},
      h("input", { type: "radio", name: "sample", class: "hidden", onchange: () => select(index) }), h("span", {}))));
    cells.style.setProperty("--columns", String(Math.ceil(Math.sqrt(count))));
    cells.style.setProperty("--gap", `${200 / Math.max(1, picture.naturalHeight)}% ${200 / Math.max(1, picture.naturalWidth)}%`);
    for (const [index, input] of cells.querySelectorAll("input").entries()) {
      const name = nameOf(index), [sign = "", text = ""] = (!state.prompt && MARKS[marks[name]]) || [];
      input.checked = name === chosen?.name && state.prompt === chosen.prompt;
      setAttributes(input, { "aria-label": `${name} ${text}`.trim() });
      fill(/** @type {Element} */ (input.nextElementSibling), sign);
    }
  };
  place.append(cells);
  drawForm();
  return { shown, body: () => ({ seed: state.seed, count: Number(state.count),
    ...(facts.prompt && state.prompt ? { kind: "prompt", prompt: state.prompt } : {}) }), controls: [form,
    h("div", { class: "toolbar" }, button("Another seed", () => { state.seed = randomNumber(10000); drawForm(); }),
      facts.captions.map((prompt) =>
        button(prompt, () => { state.prompt = prompt; drawForm(); }, "chip"))),
    field("Sample by its number", h("input", { type: "number", min: 0, max: 255,
      onchange: (/** @type {any} */ { target }) => select(target.valueAsNumber || 0) }), isImage ? "Or click on the picture." : "")] };
}

/** The content of a file in base64. @param {File} file @returns {Promise<string>} */
export async function readBase64(file) {
  const reader = new FileReader();
  await new Promise((resolve) => { reader.onload = resolve; reader.readAsDataURL(file); });
  return String(reader.result).split(",")[1] ?? "";
}

/** A place for a picture, by drop, choice or paste. @param {(image: string) => void} onimage gets base64 */
function pictureInput(onimage) {
  const preview = h("img", { class: "upload", alt: "The picture that you gave", hidden: true });
  const read = async (/** @type {File} */ file) => {
    URL.revokeObjectURL(preview.src);
    preview.src = URL.createObjectURL(file);
    preview.hidden = false;
    onimage(await readBase64(file));
  };
  const paste = (/** @type {ClipboardEvent} */ event) => { const file = event.clipboardData?.files[0]; if (file) read(file); };
  addEventListener("paste", paste);
  return { element: [dropZone("Drop, paste or choose a picture", "image/*", read), preview],
    end: () => removeEventListener("paste", paste) };
}

/** @param {ExploreView} view @returns {Mode} */
function translateTab(view) {
  const state = view.state();
  let image = "";
  const input = pictureInput((given) => { image = given; view.refresh(); });
  return { end: input.end, body: () => (image ? { ...state, image } : null),
    controls: [input.element, inputs(view, view.facts.tabs.translate.fields, state)] };
}

/** @param {ExploreView} view @returns {Mode} */
function projectTab(view) {
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Progress" }), state = h("p", { class: "muted", "aria-live": "polite" });
  const cancel = button("Cancel", () => void post(`${path}/cancel`, {}));
  const request = view.state(), { fields, note } = view.facts.tabs.project;
  let path = "", timer = 0;
  const poll = async () => {
    const status = await get(path);
    bar.value = status.step / Math.max(1, status.steps);
    fill(state, status.error || `${status.state}: step ${status.step} of ${status.steps}`,
      status.distance !== null && `; distance ${number(status.distance)}, at first ${number(status.start_distance)}`);
    cancel.hidden = status.state !== "running";
    if (status.step) await view.whole.show(await fetch(`${path}/picture.png`));
    if (status.state === "running") timer = setTimeout(() => view.attempt(poll), POLL);
    else if (status.state === "finished") view.collect(`@${path.split("/").at(-1)}`);
  };
  const input = pictureInput((image) => view.attempt(async () => {
    clearTimeout(timer);
    path = `/api/explore/jobs/${(await (await view.send({ ...request, kind: "project", client: "project", image })).json()).job}`;
    await poll();
  }));
  cancel.hidden = true;
  return { end: () => { clearTimeout(timer); input.end(); }, body: () => null,
    controls: [h("p", { class: "muted" }, note),
      inputs(view, fields, request), input.element, bar, state, cancel] };
}
