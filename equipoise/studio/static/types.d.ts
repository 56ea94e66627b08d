/** What the server of the studio answers. Only the type checker reads this file. */

interface Row {
  id: string; model: string; data: string; controller: string; step: number; steps: number | null; images: number; seconds: number;
  state: "running" | "finished" | "interrupted" | "stopped" | "damaged" | "newer"; reason: string; verdict: string;
  findings: { symptom: string; severity: number; since: number }[];
  best: { metric: string; value: number; step: number } | null;
  updated: number; created: number; tags: string[]; note: string; archived: boolean; manual: boolean; disk: number; problem: string;
}

interface KnobState {
  name: string; help: string; low: number; high: number; off: boolean; unit: string;
  scale: "log" | "linear" | "integer" | "one_minus_log" | "log_complement";
  value: number; target: number; manual: number | null; acts: boolean; frozen: boolean;
}

interface SeriesInfo {
  name: string; group: "loss" | "rank" | "probability" | "gradient" | "signal" | "metric" | "knob"; unit: string; help: string;
}

interface ChartInfo {
  section: string; title: string; help: string; note: string; unit: string; range: [number, number] | null;
  lines: { name: string; label: string }[];
}

interface RunDetails {
  row: Row; settings: [string, string][]; facts: [string, string][]; command: string; started: unknown; warnings: string[]; knobs: KnobState[];
  series: SeriesInfo[]; charts: ChartInfo[]; files: { report: boolean; film: boolean; figure: boolean }; 
  skipped: string[]; last_log: string[]; missing: string; better: string; progress: { next: string; left: string };
}

interface Bins { min: (number | null)[]; max: (number | null)[]; last: (number | null)[] }

interface SeriesAnswer { x: number[]; steps?: number[]; series: Record<string, Bins> }

interface TimelineFinding {
  symptom: string; label: string; severity: number; since: number; until: number | null; evidence: string; causes: string[]; advice: string;
}

interface Remedy {
  step: number; symptom: string; rung: number; restored: number | null; until: number; overrides: Record<string, number>; why: string;
}

interface Turn { step: number; knob: string; from: number; to: number; by: string; why: string; count?: number }

interface ManualEntry { step: number; label: string; action: string; knob: string; value: number | null; note: string; by: string; refused: string; request: string }

interface TimelineAnswer {
  findings: TimelineFinding[]; remedies: Remedy[]; turns: Turn[]; manual: ManualEntry[];
  evaluations: { step: number; metric: string; value: number; better: string }[];
  checkpoints: { step: number; best: boolean; present: boolean }[]; resumes: { step: number }[]; samples: number[];
}

interface SampleItem {
  step: number; images: number; file: string; columns: number | null; count: number; kind: "image" | "text" | "table" | "other";
  shape: number[] | null;
}

interface WaitingRequest { request: string; action: string; knob?: string; value?: number | null; text?: string }
