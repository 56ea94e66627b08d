/**
 * Diagnose the log of any trainer: drop, paste or choose it. What is wrong, by what evidence, what to do; where a run of
 * this studio is running, its knobs can be changed as advised, and back.
 * @module
 */
import { get, latest, post, request, runPath } from "./api.js";
import { badge, button, field, fill, h, notify, notifyError, number, panel, severityText } from "./dom.js";
import { choice, debounce, dropZone } from "./inputs.js";

/**
 * @typedef {object} LogFinding
 * @property {string} symptom
 * @property {string} label
 * @property {number} severity
 * @property {number | null} since
 * @property {string} [unit]
 * @property {Record<string, number> | string} evidence
 * @property {string[]} advice
 * @property {{knob: string, why: string}[]} changes
 */
/** @typedef {{verdict: string, summary: string, findings: LogFinding[], notes: string[], missing: string[]}} Diagnosis */

const MAX_BYTES = 20 * 2 ** 20;

/** @param {HTMLElement} root */
export async function mount(root) {
  let name = "";
  const result = h("div", { class: "stack", "aria-live": "polite" });
  const text = h("textarea",
    { rows: 6, spellcheck: "false", placeholder: "step 100  loss_D 0.41  loss_G 2.93 …", oninput: () => { name = ""; later(); } });
  const diagnose = latest(async (/** @type {Blob | string} */ log, signal) => {
    if ((log instanceof Blob ? log.size
      : log.length) > MAX_BYTES) throw new Error("The log is larger than 20 MB: use equipoise diagnose LOG in a terminal.");
    fill(result, h("p", { class: "muted", "aria-busy": "true" }, "Reading…"));
    const response = await request(`/api/diagnose${name && `?name=${encodeURIComponent(name)}`}`,
      { method: "POST", body: log, headers: { "Content-Type": "application/octet-stream" }, signal });
    const running = (await get("/api/runs", {}, signal)).runs.filter((/** @type {Row} */ { state }) => state === "running");
    fill(result, diagnosisOf(await response.json(), running, { id: running[0]?.id ?? "" }));
  }, (error) => fill(result, h("p", { class: "error", role: "alert" }, error.message)));
  const later = debounce(() => void (text.value.trim() && diagnose(text.value)), 500);
  fill(root, h("div", { class: "title" }, h("h1", {}, "Diagnose a log"),
    h("p", { class: "muted" }, "Of any trainer: text, CSV, JSON, TensorBoard, notebooks. It stays on this computer.")),
    panel("Log", null, dropZone("Drop a log here, or choose one", "", (file) => { name = file.name; text.value = ""; diagnose(file); }),
      field("Or paste its lines", text)), result);
  return () => {};
}

/** @param {Diagnosis} diagnosis @param {Row[]} running @param {{id: string}} target run that advice is applied to */
function diagnosisOf({ verdict, summary, findings, notes, missing }, running, target) {
  const canApply = findings.some(({ changes }) => changes.length);
  return [panel("Diagnosis", badge(verdict), h("p", {}, summary), notes.map((note) => h("p", { class: "muted" }, note)),
    missing.map((note) => h("p", { class: "warning" }, note)),
    canApply && (running.length
      ? field("Run to which advice is applied", choice(running.map(({ id }) => id), target.id, (id) => { target.id = id; }))
        : h("p", { class: "muted" }, "While a run in this studio is training, advice can be applied to it with one click."))),
  findings.map((finding) => findingPanel(finding, running.length > 0, target))];
}

/** @param {LogFinding} finding @param {boolean} canApply @param {{id: string}} target */
function findingPanel({ symptom, label, severity, since, unit, evidence, advice, changes }, canApply, target) {
  const proofs = typeof evidence === "string" ? evidence
    : Object.entries(evidence).map(([name, value]) => `${name} ${number(value)}`).join(", ");
  return panel(label, h("span", { class: "muted" },
    `${severityText(severity)}${since === null ? "" : `, since ${unit ?? "step"} ${number(since)}`}`),
    proofs && h("p", {}, h("strong", {}, "Evidence: "), proofs),
      advice.map((line, index) =>
        h("p", {}, index === advice.length - 1 && h("strong", {}, "Advice: "), `${line.charAt(0).toUpperCase()}${line.slice(1)}.`)),
    changes.length > 0 && h("div", { class: "toolbar" }, "What repair does first: ",
      changes.map(({ knob, why }) => h("span", { class: "chip" }, `${knob}: ${why}`)),
      canApply && button("Apply", () => apply(target.id, symptom).catch(notifyError))));
}

/** Hold the knobs of a run as advised for a symptom; the notice can undo it. @param {string} id @param {string} symptom */
async function apply(id, symptom) {
  /** @type {[{changes: {knob: string, to: number}[]}, RunDetails]} */
  const [{ changes }, { knobs }] = await Promise.all([get(runPath(id, "/advice"), { symptom }), get(runPath(id))]);
  if (!changes.length) return notify(`${id}: nothing to change, the advice is in effect already, or its knobs do not act in this model.`);
  const send = (/** @type {object[]} */ bodies) => Promise.all(bodies.map((body) => post(runPath(id, "/requests"), body)));
  const before = (/** @type {string} */ knob) => knobs.find(({ name }) => name === knob)?.manual ?? null;
  const undo = changes.map(({ knob }) =>
    (before(knob) === null ? { action: "release", knob } : { action: "turn", knob, value: before(knob) }));
  await send(changes.map(({ knob, to }) => ({ action: "turn", knob, value: to })));
  notify(`${id} will hold ${changes.map(({ knob, to }) => `${knob} at ${number(to)}`).join(", ")} from its next reading.`,
    { action: ["Undo", () => void send(undo).catch(notifyError)] });
}
