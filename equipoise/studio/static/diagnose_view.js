/**
 * Diagnose the log of any trainer: drop, paste or choose it. What is wrong, by what evidence, what to do; where a run of
 * this studio is running, its knobs can be changed as advised, and back.
 * @module
 */
import { get, request } from "./api.js";
import { badge, field, fill, h, notify, number, panel } from "./dom.js";
import { choice, debounce, dropZone } from "./inputs.js";
import { Requests } from "./knobs.js";

/** @typedef {{symptom: string, label?: string, severity: number, since?: number | null, evidence: string | Record<string, number>, advice: string | string[], changes?: {knob: string, value?: number, factor?: number, why?: string}[]}} LogFinding */
/** @typedef {{verdict?: string, summary?: string, format?: string, readings?: number, findings: LogFinding[], notes?: string[], missing?: string[]}} Diagnosis */

const MOST_BYTES = 20 * 2 ** 20;

/** @param {HTMLElement} root */
export async function mount(root) {
  /** @type {{runs: Row[]}} */
  const { runs } = await get("/api/runs").catch(() => ({ runs: [] }));
  const running = runs.filter(({ state }) => state === "running");
  let name = "";
  const result = h("div", { class: "stack", "aria-live": "polite" });
  const target = { id: running[0]?.id ?? "" };
  const text = h("textarea", { rows: 6, spellcheck: "false", placeholder: "step 100  loss_D 0.41  loss_G 2.93 …", oninput: () => { name = ""; later(); } });
  const diagnose = async (/** @type {Blob | string} */ log) => {
    if ((log instanceof Blob ? log.size : log.length) > MOST_BYTES) return void fill(result, h("p", { class: "error" }, "The log is larger than 20 MB: use equipoise diagnose LOG in a terminal."));
    fill(result, h("p", { class: "muted", "aria-busy": "true" }, "Reading…"));
    try {
      const response = await request(`/api/diagnose${name && `?name=${encodeURIComponent(name)}`}`, { method: "POST", body: log, headers: { "Content-Type": "text/plain" } });
      fill(result, diagnosisOf(await response.json(), running, target));
    } catch (error) {
      fill(result, h("p", { class: "error", role: "alert" }, /** @type {Error} */ (error).message));
    }
  };
  const later = debounce(() => void (text.value.trim() && diagnose(text.value)), 500);
  fill(root, h("div", { class: "title" }, h("h1", {}, "Diagnose a log"), h("p", { class: "muted" }, "Of any trainer: text, CSV, JSON, TensorBoard, notebooks. It stays on this computer.")),
    panel("Log", null, dropZone("Drop a log here, or choose one", "", (file) => { name = file.name; text.value = ""; diagnose(file); }), field("Or paste its lines", text)), result);
  return () => {};
}

/** @param {Diagnosis} diagnosis @param {Row[]} running @param {{id: string}} target run that advice is applied to */
function diagnosisOf(diagnosis, running, target) {
  const { verdict = "unknown", findings } = diagnosis;
  const canApply = findings.some(({ changes }) => changes?.length);
  return [panel("Diagnosis", badge(verdict), h("p", {}, diagnosis.summary ?? (findings.length ? `${findings.length} symptoms.` : "No symptom.")),
    diagnosis.notes?.map((note) => h("p", { class: "muted" }, note)), diagnosis.missing?.map((note) => h("p", { class: "warning" }, note)),
    canApply && (running.length ? field("Apply advice to", choice(running.map(({ id }) => id), target.id, (id) => { target.id = id; })) : h("p", { class: "muted" }, "Advice can be applied by a click to a run of this studio while it is running."))),
  findings.map((finding) => findingPanel(finding, running, target))];
}

/** @param {LogFinding} finding @param {Row[]} running @param {{id: string}} target */
function findingPanel({ symptom, label, severity, since, evidence, advice, changes = [] }, running, target) {
  const proofs = typeof evidence === "string" ? evidence : Object.entries(evidence).map(([name, value]) => `${name} ${number(value)}`).join(", ");
  return panel(label ?? symptom.replaceAll("_", " "), [h("span", { class: "muted" }, `severity ${Math.round(severity * 100)} %${since ? `, since step ${number(since)}` : ""}`)],
    h("p", {}, h("strong", {}, "Evidence: "), proofs), [advice].flat().map((line) => h("p", {}, line)),
    changes.length > 0 && h("ul", { class: "plain" }, changes.map((change) => h("li", { class: "toolbar" }, h("code", {}, `${change.knob} ${change.value !== undefined ? number(change.value) : `× ${change.factor}`}`), change.why,
      running.length > 0 && h("button", { type: "button", class: "small", onclick: () => apply(target.id, change.knob, change) }, "Apply")))));
}

/** Turn a knob of a run as advised; the notice can undo it. @param {string} id @param {string} name @param {{value?: number, factor?: number}} change */
async function apply(id, name, change) {
  const requests = new Requests(id, () => {});
  /** @type {RunDetails} */
  const { knobs } = await get(`/api/runs/${encodeURIComponent(id)}`);
  const knob = knobs.find((item) => item.name === name);
  if (!knob?.acts || knob.frozen) return notify(`${id}: ${name} ${knob?.frozen ? "is frozen" : "does not act in this model"}.`, { kind: "error" });
  const value = change.value ?? knob.value * (change.factor ?? 1);
  await requests.turn(name, Math.min(knob.high, Math.max(knob.off && value < knob.low ? 0 : knob.low, value)), knob.manual);
}
