/**
 * Inputs that several views use: a slider with its number, a text to copy, a place to drop a file.
 * @module
 */
import { button, field, fill, h, notify, openForm } from "./dom.js";

/**
 * A form for the tags and the note of a run.
 * @param {Row} row
 * @param {(change: {tags: string[], note: string}) => void} onsave
 */
export function openTags({ id, tags, note }, onsave) {
  const words = h("input", { type: "text", value: tags.join(", ") }), text = h("textarea", { value: note });
  openForm(`Tags and note of ${id}`, [field("Tags, with commas between", words), field("Note", text)], "Save",
    () => onsave({ tags: words.value.split(",").map((tag) => tag.trim()).filter(Boolean), note: text.value }));
}

/**
 * Call `action` once, `pause` milliseconds after the last call.
 * @param {() => void} action
 * @param {number} [pause]
 * @param {number} [timer]
 */
export function debounce(action, pause = 300, timer = 0) {
  return () => { clearTimeout(timer); timer = setTimeout(action, pause); };
}

/** A command or a name with a button that copies it. @param {string} text @param {string} [label] */
export function copyable(text, label = "Copy the command") {
  return h("div", { class: "copyable" }, h("pre", { tabindex: 0, "aria-label": label.replace(/^Copy /, "") }, text),
    button("Copy", () => copy(text), "small", { "aria-label": label }));
}

/** @param {string} text */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    notify("Copied.");
  } catch {
    notify("The browser does not allow copying here. Select the text instead.", { kind: "error" });
  }
}

/**
 * @typedef {object} Range
 * @property {number} low
 * @property {number} high
 * @property {number | "any"} step
 * @property {number} value
 * @property {string} [unit]
 * @property {string} [help]
 * @property {(value: number) => string} [speak]
 */

/**
 * A slider and a number box that show the same number; `set` changes both without an event.
 * @param {string} label
 * @param {Range} range
 * @param {(value: number) => void} onvalue
 */
export function slider(label, { low, high, step, value, unit = "", help = "", speak = (shown) => `${shown} ${unit}`.trim() }, onvalue) {
  const limits = { min: low, max: high, step, value };
  const bar = h("input", { type: "range", ...limits, "aria-label": label, oninput: () => change(bar.valueAsNumber) });
  const box = h("input", { type: "number", ...limits, "aria-label": `${label}, as a number`, onchange: () => change(box.valueAsNumber) });
  /** @param {number} next */
  function set(next) {
    const shown = Math.min(high, Math.max(low, Number.isFinite(next) ? next : value));
    bar.value = box.value = String(Number(shown.toPrecision(5)));
    bar.setAttribute("aria-valuetext", speak(shown));
    return shown;
  }
  /** @param {number} next */
  const change = (next) => onvalue(set(next));
  set(value);
  const element = h("div", { class: "range-row", title: help || null },
    h("span", {}, label, unit && h("small", { class: "muted" }, ` ${unit}`)), box, bar);
  return { element, set };
}

/**
 * A place for one file: drop it or choose it.
 * @param {string} label
 * @param {string} accept types of files, as in HTML
 * @param {(file: File) => void} onfile
 */
export function dropZone(label, accept, onfile) {
  const input = h("input", { type: "file", accept, class: "hidden", onchange: () => input.files?.[0] && onfile(input.files[0]) });
  const hover = (/** @type {DragEvent} */ event) => { event.preventDefault(); zone.classList.toggle("over", event.type === "dragover"); };
  const drop = (/** @type {DragEvent} */ event) => { hover(event); if (event.dataTransfer?.files[0]) onfile(event.dataTransfer.files[0]); };
  const zone = h("label", { class: "drop", ondragover: hover, ondragleave: hover, ondrop: drop }, input, h("span", {}, label));
  return zone;
}

/** Offer bytes as a file. @param {Blob} blob @param {string} name */
export function download(blob, name) {
  const href = URL.createObjectURL(blob);
  h("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10000);
}

/**
 * A select; options are texts, or pairs of a value and a text.
 * @param {(string | [string, string])[]} options
 * @param {string} value
 * @param {(value: string) => void} onvalue
 * @param {Record<string, string>} [attributes]
 */
export function choice(options, value, onvalue, attributes = {}) {
  const select = h("select", { ...attributes, onchange: () => onvalue(select.value) });
  fill(select, options.map((option) =>
    h("option", { value: Array.isArray(option) ? option[0] : option }, Array.isArray(option) ? option[1] : option)));
  select.value = value;
  return select;
}
