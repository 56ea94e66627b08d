/**
 * Words about a run: its health at the clock's step with what was done and what to do; settings, events, logs, files.
 * @module
 */
import { get, runPath } from "./api.js";
import { badge, button, bytes, continueLink, fill, h, notifyError, number, panel, severityText } from "./dom.js";
import { choice, copyable } from "./inputs.js";

const KINDS = "sensed turned remedied requested evaluated sampled saved started resumed finished".split(" ");

/** @param {import("./clock.js").Clock} clock @param {import("./knobs.js").Requests} requests */
export function createHealth(clock, requests) {
  /** @type {TimelineAnswer | null} */
  let timeline = null;
  /** @type {RunDetails | null} */
  let details = null;
  const place = h("div", { class: "stack" });
  const element = panel("Health", null, place);
  let shown = "";
  const unsubscribe = clock.subscribe((changed) => { if (changed.has("step") || changed.has("last")) show(); });

  function show() {
    if (!timeline || !details) return;
    const { step } = clock, now = timeline.findings.filter(({ since, until }) => since <= step && (until === null || step < until));
    const past = timeline.findings.filter(({ until }) => until !== null && until <= step).length;
    const key = JSON.stringify([now, step >= clock.state.last, past, details.row.verdict, details.row.state,
      timeline.remedies.length, details.knobs.map((knob) => knob.value)]);
    if (key === shown) return;
    shown = key;
    const verdict = step >= clock.state.last ? details.row.verdict : "";
    fill(place, now.map(finding),
      !now.length && h("p", {}, verdict && badge(verdict), verdict && " ",
        verdict === "unknown" ? "There is not enough evidence yet to say more."
          : "No finding at this step; most need the evidence of several readings."),
      step >= clock.state.last && details.missing
        && h("p", { class: "muted" }, h("b", {}, "To know more: "), details.missing),
      past > 0 && h("small", { class: "muted" },
        `${past} earlier ${past === 1 ? "finding has" : "findings have"} ended; see the timeline.`));
  }

  /** @param {TimelineFinding} item */
  function finding(item) {
    const done = timeline?.remedies.filter((remedy) => remedy.symptom === item.symptom && remedy.step >= item.since
      && remedy.step <= clock.step) ?? [];
    const running = details?.row.state === "running", byHand = item.causes.length > 0;
    const best = timeline?.checkpoints.findLast(({ best, present }) => best && present);
    return h("article", { class: item.severity >= 0.66 ? "finding severe" : "finding" },
      h("h3", {}, h("span", { "aria-hidden": true }, "▲ "), item.label,
        h("small", { class: "muted" }, ` since step ${number(item.since)}, ${severityText(item.severity)}`)),
      h("p", {}, item.evidence),
      item.causes.map((cause) => h("p", {}, h("b", {}, "Preceding change: "), `${cause}.`)),
      done.length > 0 && h("p", {}, h("b", {}, "Done: "), done.map(remedyText)),
      item.advice && h("p", { class: "muted" }, h("b", {}, "Advice: "), item.advice),
      running && item.until === null && adviceButtons(item),
      best && h("p", {}, continueLink(requests.id, best.step, byHand ? "" : item.symptom,
        `Continue from the best checkpoint, step ${number(best.step)}, with${byHand ? "out changes by hand" : " this advice"}`)),
      byHand && twinLink(requests.id));
  }

  /**
   * Buttons that release the knobs which a person turned before, and hold those which repair would change, loaded when
   * the finding is shown.
   * @param {TimelineFinding} item
   */
  function adviceButtons({ symptom, since }) {
    const place = h("div", { class: "toolbar" });
    get(runPath(requests.id, "/advice"), { symptom, since }).then(({ changes, release }) => {
      fill(place, /** @type {string[]} */ (release).map((knob) =>
        button(`Release ${knob}`, () => requests.release(knob), "small primary")),
      /** @type {{knob: string, from: number, to: number}[]} */ (changes).map(({ knob, from, to }) =>
        button(`Set ${knob} from ${number(from)} to ${number(to)}`,
          () => requests.turn(knob, to, details?.knobs.find(({ name }) => name === knob)?.manual ?? null), "small",
          { title: "Hold the knob at this value until you release it" })));
    }, () => {});
    return place;
  }

  return {
    element,
    /** @param {RunDetails} nextDetails @param {TimelineAnswer} nextTimeline */
    update(nextDetails, nextTimeline) { details = nextDetails; timeline = nextTimeline; show(); },
    destroy: unsubscribe,
  };
}

/** @param {string} id */
const twinLink = (id) => h("a", { class: "button", href: `#/start?from=${encodeURIComponent(id)}&twin=1` },
  "Repeat the run without changes by hand");

/** What repair did, in a sentence. @param {Remedy} remedy */
function remedyText({ step, why, rung, restored }) {
  return `step ${number(step)}: ${why || `rung ${rung}`}${restored === null ? "" : `, rolled back to step ${number(restored)}`}. `;
}

/** Settings, data, events, output, files of a run, each folded. @param {string} id */
export function createFacts(id) {
  const parts = { settings: h("div"), data: h("div"), events: h("div"), output: h("div"), files: h("div") };
  const titles = { settings: "Settings", data: "Data", events: "Events", output: "Output", files: "Files and disk" };
  const boxes = Object.entries(parts).map(([name, place]) =>
    h("details", { class: "fact", ontoggle: () => { if (name === "events") loadEvents(); } },
      h("summary", {}, titles[/** @type {"data"} */ (name)]), place));
  const warnings = h("div", { class: "stack" });
  const element = h("section", { class: "panel facts", "aria-label": "Facts" }, warnings, boxes);
  const kind = choice([["", "all events"], ...KINDS], "", () => void loadEvents(), { "aria-label": "Kind of events" });
  const lines = h("pre", { tabindex: 0, "aria-label": "Last events" });
  fill(parts.events, kind, lines);

  async function loadEvents() {
    if (!parts.events.closest("details")?.open) return;
    try {
      const answer = await get(runPath(id, "/events"), { limit: 200, kind: kind.value || null });
      lines.textContent = answer.texts.reverse().join("\n") || "none";
    } catch (error) { notifyError(error); }
  }

  /** @param {RunDetails} details */
  function update({ row, settings, command, warnings: texts, files, facts, skipped, last_log: output }) {
    fill(warnings, texts.map((text) => h("p", { class: "warning" }, "⚠ ", text)), row.problem && h("p", { class: "error" }, row.problem),
      row.manual && twinLink(id));
    fill(parts.settings, copyable(command), table(settings));
    fill(parts.data, table(facts),
      skipped.length > 0 && h("div", {}, h("h3", {}, "Left out"), h("pre", { tabindex: 0 }, skipped.join("\n"))));
    fill(parts.output, output.length
      ? h("pre", { tabindex: 0, "aria-label": "Last lines of the output" }, output.join("\n"))
        : h("p", { class: "muted" }, "The output of this run went to the terminal that started it."));
    fill(parts.files, h("p", {}, `${bytes(row.disk)} on disk. `,
      Object.entries(files).filter(([, there]) => there).map(([name]) =>
        h("a", { class: "button small", href: runPath(id, `/${name}`), target: "_blank", rel: "noopener" }, name))));
    loadEvents();
  }
  return { element, update };
}

/** A table of names and values. @param {[string, string][]} rows */
const table = (rows) => h("div", { class: "scroll" }, h("table", { class: "dense" },
  h("tbody", {}, rows.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", { class: "mono" }, value))))));
