/**
 * Elements, number formats and notices that every view uses. Text enters the page as text only, never as markup.
 * @module
 */

/** @typedef {Node | string | number | null | undefined | false | Children[]} Children */
/** @typedef {Record<string, string | number | boolean | null | undefined | ((event: any) => void)>} Attributes */

/**
 * Build an element: `h("button", {class: "primary", onclick: save}, "Save")`.
 * `on…` attributes are listeners; `value` and `checked` are set as properties; null, undefined and false are left out
 * (except for `aria-…`, where false is written).
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Attributes} [attributes]
 * @param {...Children} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  append(element, children);
  setAttributes(element, attributes);
  return element;
}

/**
 * A button that submits nothing.
 * @param {Children} content
 * @param {((event: any) => void) | null} onclick
 * @param {string} [kind] its classes
 * @param {Attributes} [attributes] further ones
 */
export const button = (content, onclick, kind, attributes) => h("button", { type: "button", class: kind, onclick, ...attributes }, content);

/** @param {Element} element @param {Attributes} attributes */
export function setAttributes(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") Object.assign(element, { [name]: value });
    else if (value === null || value === undefined || (value === false && !name.startsWith("aria-"))) element.removeAttribute(name);
    else element.setAttribute(name, value === true && !name.startsWith("aria-") ? "" : String(value));
  }
}

/** @param {Element} element @param {Children} children */
function append(element, children) {
  if (Array.isArray(children)) for (const child of children) append(element, child);
  else if (children !== null && children !== undefined && children !== false)
    element.append(children instanceof Node ? children : String(children));
}

/**
 * Replace the children of an element.
 * @param {Element} element
 * @param {...Children} children
 */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

/**
 * Make `nodes` the children of an element; nothing moves if they are already, so that clicks and the focus survive.
 * @param {Element} element
 * @param {Element[]} nodes
 */
export function setChildren(element, nodes) {
  if (nodes.length === element.children.length && nodes.every((node, index) => element.children[index] === node)) return;
  const focused = document.activeElement;
  element.replaceChildren(...nodes);
  if (focused instanceof HTMLElement && focused !== document.activeElement && element.contains(focused)) focused.focus();
}

/**
 * A panel: a titled box. `tools` stand at the right of the title.
 * @param {string} title
 * @param {Children} tools
 * @param {...Children} children
 */
export function panel(title, tools, ...children) {
  return h("section", { class: "panel", "aria-label": title }, h("header", {}, h("h2", {}, title), tools), children);
}

/**
 * A labelled input or select.
 * @param {string} label
 * @param {HTMLElement} input
 * @param {string} [help]
 */
export function field(label, input, help = "") {
  return h("label", { class: "field" }, h("span", {}, label), input, help && h("small", { class: "muted" }, help));
}

/**
 * A group of radio buttons that looks like one segmented button.
 * @param {string} label
 * @param {Record<string, string>} options text by value
 * @param {string} value
 * @param {(value: string) => void} onchange
 */
export function segmented(label, options, value, onchange) {
  const name = `s${Math.random().toString(36).slice(2)}`;
  return h("fieldset", { class: "segmented" }, h("legend", { class: "hidden" }, label),
    Object.entries(options).map(([key, text]) => h("label", {},
      h("input", { type: "radio", name, value: key, checked: key === value, onchange: () => onchange(key) }),
      h("span", {}, text))));
}

const SHAPES = { running: "▶", finished: "✓", interrupted: "◔", stopped: "■", damaged: "✕", newer: "↥",
  healthy: "●", unhealthy: "▲", diverged: "✕", unknown: "○" };

/** A word with a shape in front of it. @param {string} state a state or a verdict */
export function badge(state) {
  const shape = SHAPES[/** @type {keyof typeof SHAPES} */ (state)] ?? "○";
  return h("span", { class: "badge", "data-state": state }, h("span", { "aria-hidden": true }, shape), " ", state);
}

/** Up to four significant digits; "–" if there is no number. @param {number | null | undefined} value */
export function number(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return value.toLocaleString("en", { maximumSignificantDigits: size >= 1000 ? 5 : 4 });
}

/** "2 h 05 min", "3 min 20 s", "4.2 s". @param {number | null | undefined} seconds */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${String(Math.floor(seconds % 60)).padStart(2, "0")} s`;
  if (minutes < 2880) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
  return `${Math.floor(minutes / 1440)} days`;
}

/** "just now", "5 min ago". @param {number} time seconds since 1970 */
export function ago(time) {
  const seconds = Math.max(0, Date.now() / 1000 - time);
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.round(seconds)} s ago`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h ago` : `${Math.round(seconds / 86400)} days ago`;
}

/** @param {number} count number of bytes */
export function bytes(count) {
  const power = count < 1000 ? 0 : Math.min(4, Math.floor(Math.log10(count) / 3));
  return `${number(Number((count / 1000 ** power).toPrecision(3)))} ${["B", "kB", "MB", "GB", "TB"][power]}`;
}

/**
 * Show a notice at the lower edge for a few seconds; `action` adds a button, for instance "Undo".
 * @param {string} text
 * @param {{kind?: "info" | "error", action?: [string, () => void]}} [options]
 */
export function notify(text, { kind = "info", action } = {}) {
  const remove = () => notice.remove();
  const notice = h("div", { class: `notice ${kind}` }, h("span", {}, text),
    action && button(action[0], () => { remove(); action[1](); }), button("✕", remove, "quiet", { "aria-label": "Dismiss" }));
  document.getElementById("notices")?.append(notice);
  setTimeout(() => { if (!notice.matches(":hover, :focus-within")) remove(); }, kind === "error" ? 12000 : 7000);
}

/** Close the dialog of a button. @param {{target: Element}} event */
export const closeDialog = ({ target }) => target.closest("dialog")?.close();

/**
 * Open a small form in a dialog; it closes when it is sent or cancelled.
 * @param {string} title
 * @param {Children} content
 * @param {string} verb text of the button
 * @param {() => void} onsubmit
 */
export function openForm(title, content, verb, onsubmit) {
  openDialog(title, h("form", { class: "stack", method: "dialog", onsubmit }, h("h2", {}, title), content,
    h("div", { class: "toolbar" }, h("button", { class: "primary" }, verb), button("Cancel", closeDialog))));
}

/**
 * Open a dialog that is removed when it closes.
 * @param {string} title
 * @param {Children} content
 * @param {string} [kind]
 */
export function openDialog(title, content, kind) {
  const close = () => { dialog.remove(); document.dispatchEvent(new Event("visibilitychange")); };
  const dialog = h("dialog", { "aria-label": title, class: kind, onclose: close }, content);
  document.body.append(dialog);
  dialog.showModal();
}

/** Whether nobody looks at the page: it is hidden, or behind a dialog, where drawing would make typing slow. */
export const isCovered = () => document.hidden || !!document.querySelector("dialog[open]");

/** Show an error as a notice. @param {unknown} error */
export const notifyError = (error, what = "") => notify(`${what}${error instanceof Error ? error.message : error}`, { kind: "error" });

/**
 * A link to the form of a new run from a checkpoint of a run.
 * @param {string} id
 * @param {number} step
 * @param {string} [symptom] whose advice is filled in
 * @param {string} [text]
 */
export const continueLink = (id, step, symptom = "", text = `Continue from step ${number(step)} as a new run`) =>
  h("a", { href: `#/start?from=${encodeURIComponent(id)}&step=${step}${symptom && `&symptom=${symptom}`}` }, text);

/** How bad a finding is. @param {number} severity from 0 to 1 */
export const severityText = (severity) => `severity ${Math.round(severity * 100)} % (how bad, not how certain)`;

/** Whether the reader prefers a page that does not move by itself. */
export const prefersStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
