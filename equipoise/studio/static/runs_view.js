/**
 * The table of all runs: filter, sort, tags, notes, archive; rows change while the runs go on.
 * @module
 */
import { coalesce, get, onNews, post, runPath } from "./api.js";
import { ago, badge, button, bytes, duration, fill, h, isCovered, notify, notifyError, number, segmented, setAttributes, setChildren }
  from "./dom.js";
import { openTags } from "./inputs.js";

/**
 * @typedef {object} Column
 * @property {string} title
 * @property {(row: Row) => string | number} value what the rows are sorted by
 * @property {(row: Row) => import("./dom.js").Children} cell
 * @property {boolean} [right] whether the cells are aligned at the right
 */

const STATES = { all: "All", running: "Running", finished: "Finished", other: "Other" };

/** @type {Record<string, Column>} */
const COLUMNS = {
  id: { title: "Run", value: (row) => row.id.toLowerCase(), cell: (row) => [
    h("a", { class: "run-name", href: `#/run/${encodeURIComponent(row.id)}` }, row.id),
    row.tags.map((tag) => h("span", { class: "chip" }, tag)),
      row.manual && h("span", { class: "chip", title: "A person changed knobs of this run" }, "manual"),
    row.archived && h("span", { class: "chip" }, "archived"),
    row.problem ? h("p", { class: "problem" }, row.problem)
      : row.note && h("small", { class: "muted clip", title: row.note }, row.note)] },
  state: { title: "State", value: (row) => row.state, cell: (row) => h("span", { title: row.reason || null }, badge(row.state)) },
  progress: { title: "Progress", value: (row) => (row.steps ? row.step / row.steps : 0), cell: (row) => [
    h("small", { class: "nowrap" }, number(row.step), h("span", { class: "muted" }, ` / ${number(row.steps)}`)),
    h("progress", { max: Math.max(1, row.steps ?? row.step), value: row.step,
      "aria-label": `Progress of ${row.id}` })] },
  verdict: { title: "Health",
    value: (row) => `${["diverged", "unhealthy", "unknown", "healthy"].indexOf(row.verdict)}${row.verdict}`,
    cell: (row) => [
    row.verdict && badge(row.verdict),
      row.findings.length > 0
        && h("small", { class: "muted clip" },
          row.findings.map((finding) => finding.symptom.replaceAll("_", " ")).join(", "))] },
  best: { title: "Best", right: true, value: (row) => row.best?.value ?? Infinity, cell: (row) => row.best
    && h("span", { class: "nowrap", title: `at step ${row.best.step}` },
      h("small", { class: "muted" }, `${row.best.metric} `), number(row.best.value)) },
  model: { title: "Model", value: (row) => `${row.model} ${row.controller}`,
    cell: (row) => [row.model, h("small", { class: "muted clip", title: "controller" }, row.controller)] },
  data: { title: "Data", value: (row) => row.data, cell: (row) => h("span", { class: "clip", title: row.data }, row.data) },
  seconds: { title: "Time", right: true, value: (row) => row.seconds,
    cell: (row) => h("span", { class: "nowrap" }, duration(row.seconds)) },
  disk: { title: "Disk", right: true, value: (row) => row.disk, cell: (row) => h("span", { class: "nowrap" }, bytes(row.disk)) },
  updated: { title: "Updated", right: true, value: (row) => -row.updated,
    cell: (row) => h("span", { class: "nowrap muted" }, ago(row.updated)) },
};

/** @param {HTMLElement} root @param {import("./main.js").Params} params */
export async function mount(root, { query }) {
  const chosen = { q: query.get("q") ?? "", state: query.get("state") ?? "all", sort: query.get("sort") ?? "updated",
    archived: query.get("archived") === "1" };
  /** @type {Row[]} */
  let rows = [];
  let folder = "";
  /** @type {Map<string, {text: string, element: HTMLTableRowElement}>} */
  const shown = new Map();
  /** @type {Set<string>} */
  const selected = new Set();

  const count = h("p", { class: "muted", role: "status" });
  const compare = h("a", { class: "button", hidden: true }, "Compare");
  const body = h("tbody");
  const head = h("tr", {}, h("th", {}, h("span", { class: "hidden" }, "Select")),
    Object.entries(COLUMNS).map(([key, { title, right }]) =>
    h("th", { scope: "col", class: right ? "right" : null, "data-key": key },
      button(title, () => sortBy(key)))),
  h("th", {}, h("span", { class: "hidden" }, "Actions")));
  const empty = h("div", { class: "empty", hidden: true });
  const table = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of runs" },
    h("table", {}, h("caption", { class: "hidden" }, "Runs"), h("thead", {}, head), body));
  const search = h("input", { type: "search", placeholder: "name, model, data, tag …", value: chosen.q, "aria-label": "Filter the runs",
    oninput: () => { chosen.q = search.value; show(); } });
  fill(root, h("div", { class: "title" }, h("h1", {}, "Runs"), count, h("span", { class: "grow" }), compare,
    h("a", { class: "button primary", href: "#/start" }, "Start a run")),
    h("div", { class: "toolbar" }, search,
      segmented("State", STATES, chosen.state, (value) => { chosen.state = value; show(); }),
      h("label", { class: "check" },
        h("input", { type: "checkbox", checked: chosen.archived,
          onchange: (/** @type {any} */ event) => { chosen.archived = event.target.checked; show(); } }),
      "archived, too")),
    h("section", { class: "panel table-panel", "aria-label": "Runs" }, table, empty));

  /** @param {string} key */
  function sortBy(key) {
    chosen.sort = chosen.sort === key ? `-${key}` : key;
    show();
  }

  /** @param {Row} row */
  function matches(row) {
    const text = [row.id, row.model, row.data, row.controller, row.state, row.verdict, row.note, ...row.tags,
      ...row.findings.map((finding) => finding.symptom)].join(" ").toLowerCase();
    const inState = chosen.state === "all"
      || (chosen.state === "other" ? !["running", "finished"].includes(row.state) : row.state === chosen.state);
    return inState && (chosen.archived || !row.archived) && chosen.q.toLowerCase().split(/\s+/).every((word) => text.includes(word));
  }

  /**
   * The element of a row; cells that stay the same are not touched, so that the focus survives news.
   * @param {Row} row
   */
  function rowElement(row) {
    const text = JSON.stringify([row, ago(row.updated)]), old = shown.get(row.id);
    if (old?.text === text) return old.element;
    const element = old?.element ?? newRow(row.id);
    Object.values(COLUMNS).forEach(({ cell, right }, index) => {
      const next = h("td", { class: right ? "right" : null }, cell(row)), current = element.children[index + 1];
      if (!current.isEqualNode(next)) current.replaceWith(next);
    });
    /** @type {HTMLElement} */ (element.querySelector(".archive")).textContent = row.archived ? "Restore" : "Archive";
    shown.set(row.id, { text, element });
    return element;
  }

  /** A row without numbers. @param {string} id */
  function newRow(id) {
    const current = () => /** @type {Row} */ (rows.find((row) => row.id === id));
    const box = h("input", { type: "checkbox", "aria-label": `Select ${id}`, onchange: () => {
      if (box.checked) selected.add(id); else selected.delete(id);
      showSelection();
    } });
    const open = (/** @type {any} */ event) => {
      if (!event.target.closest("a, button, input") && !String(getSelection())) location.hash = `#/run/${encodeURIComponent(id)}`;
    };
    return h("tr", { class: "opens", onclick: open }, h("td", {}, box), Object.keys(COLUMNS).map(() => h("td")),
      h("td", { class: "right nowrap" }, button("✎", () => openTags(current(), (change) => annotate(current(), change)), "quiet small",
        { "aria-label": `Tags and note of ${id}`, title: "Tags and note" }),
      button("", () => annotate(current(), { archived: !current().archived }), "quiet small archive")));
  }

  function showSelection() {
    compare.hidden = selected.size < 1;
    compare.textContent = `Compare ${selected.size}`;
    setAttributes(compare, { href: `#/compare?runs=${[...selected].map(encodeURIComponent).join(",")}` });
  }

  function show() {
    const descending = chosen.sort.startsWith("-"), key = chosen.sort.replace("-", "");
    const { value } = COLUMNS[key] ?? COLUMNS.updated;
    const visible = rows.filter(matches).sort((a, b) => {
      const [left, right] = [value(a), value(b)];
      return (left < right ? -1 : left > right ? 1 : a.id.localeCompare(b.id)) * (descending ? -1 : 1);
    });
    setChildren(body, visible.map(rowElement));
    for (const cell of head.children) setAttributes(cell,
      { "aria-sort": cell.getAttribute("data-key") === key ? (descending ? "descending" : "ascending") : null });
    const running = rows.filter((row) => row.state === "running").length;
    const shares = visible.length === rows.length ? rows.length : `${visible.length} of ${rows.length}`;
    fill(count, `${shares} in ${folder}${running ? `, ${running} running` : ""}`);
    table.hidden = !visible.length;
    empty.hidden = !!visible.length;
    fill(empty, rows.length ? "No run matches."
      : [h("p", {}, "There are no runs in this folder yet."),
        h("p", {}, h("code", {}, "equipoise train digits"), " in a terminal, or ",
          h("a", { href: "#/start" }, "start one here"), ".")]);
    const address = new URLSearchParams(Object.entries({ q: chosen.q, state: chosen.state === "all" ? "" : chosen.state,
      sort: chosen.sort === "updated" ? "" : chosen.sort,
      archived: chosen.archived ? "1" : "" }).filter(([, text]) => text));
    history.replaceState(null, "", `#/runs${address.size ? `?${address}` : ""}`);
  }

  /** @param {Row} row @param {{tags?: string[], note?: string, archived?: boolean}} change */
  async function annotate(row, change) {
    try {
      await post(runPath(row.id, "/annotations"), change);
      if (change.archived) notify(`${row.id} is archived; its files stay.`, { action: ["Undo", () => annotate(row, { archived: false })] });
      await load();
    } catch (error) { notifyError(error, `${row.id}: not saved. `); }
  }

  async function load() {
    ({ runs: rows, root: folder } = await get("/api/runs"));
    for (const id of shown.keys()) if (!rows.some((row) => row.id === id)) { shown.delete(id); selected.delete(id); }
    show();
  }
  await load();
  const refresh = coalesce(async () => { if (!isCovered()) await load(); }, notifyError, 400), end = onNews(null, refresh);
  document.addEventListener("visibilitychange", refresh);
  const timer = setInterval(show, 30000);
  return () => { end(); clearInterval(timer); document.removeEventListener("visibilitychange", refresh); };
}
