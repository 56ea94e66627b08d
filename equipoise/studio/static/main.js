/**
 * The frame of the page: views by the address after "#", the theme, the state of the connection.
 * @module
 */
import { connect } from "./api.js";
import { fill, h, setAttributes } from "./dom.js";

/** @typedef {{id: string, query: URLSearchParams}} Params id: "" where the address names none */
/** @typedef {{mount: (root: HTMLElement, params: Params) => (() => void) | Promise<() => void>}} View */

/** Modules of the views; each exports mount(root, params), which returns a function that ends the view.
 * @type {Record<string, () => Promise<View>>} */
const VIEWS = {
  runs: () => import("./runs_view.js"),
  run: () => import("./run_view.js"),
  start: () => import("./start_view.js"),
  compare: () => import("./compare_view.js"),
  explore: () => import("./explore_view.js"),
  judge: () => import("./judge_view.js"),
  diagnose: () => import("./diagnose_view.js"),
};

const main = /** @type {HTMLElement} */ (document.getElementById("main"));
let unmount = () => {};
let visit = 0;

/** Show the view that the address names: `#/run/ID?step=100`. */
async function route() {
  const [, name = "", id = "", query = ""] = location.hash.match(/^#\/(\w+)(?:\/([^?]*))?(?:\?(.*))?$/) ?? [];
  if (!Object.hasOwn(VIEWS, name)) return location.replace("#/runs");
  const mine = ++visit;
  unmount();
  unmount = () => {};
  const root = h("div", { class: `view ${name}` });
  fill(main, root);
  fill(root, h("p", { class: "muted", role: "status" }, "Loading…"));
  for (const link of document.querySelectorAll("nav a"))
    setAttributes(link, { "aria-current": link.getAttribute("href") === `#/${name}` ? "page" : null });
  if (mine > 1) main.focus({ preventScroll: true });
  scrollTo(0, 0);
  try {
    const run = decodeURIComponent(id), view = await VIEWS[name]();
    document.title = `${run || name} · Equipoise studio`;
    const end = await view.mount(root, { id: run, query: new URLSearchParams(query) });
    if (mine === visit) unmount = end;
    else end();
  } catch (error) {
    if (mine === visit) fill(root, h("h1", {}, "This view cannot be shown"),
      h("p", { class: "error", role: "alert" }, /** @type {Error} */ (error).message),
      h("p", {}, h("a", { href: "#/runs" }, "Back to the runs")));
  }
}

const THEMES = ["system", "light", "dark"];

/** @param {string} theme */
function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  const button = /** @type {HTMLElement} */ (document.getElementById("theme"));
  fill(button, h("span", { "aria-hidden": true }, "◐"), h("span", { class: "hidden" }, "Theme: "),
    h("span", { class: "wide" }, theme));
  dispatchEvent(new Event("theme"));
}

document.getElementById("theme")?.addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? "system") + 1) % THEMES.length];
  localStorage.setItem("theme", next);
  setTheme(next);
});
document.getElementById("skip")?.addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("theme")));
addEventListener("hashchange", route);

setTheme(localStorage.getItem("theme") ?? "system");
connect((live) => {
  const place = /** @type {HTMLElement} */ (document.getElementById("connection"));
  place.dataset.live = String(live);
  fill(place, live ? "live" : "not connected");
});
route();
