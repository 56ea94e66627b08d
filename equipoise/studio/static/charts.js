/**
 * Charts: a figure with a caption, a legend that shows the values at the cursor, and a table of the numbers.
 * @module
 */
import { announce } from "./clock.js";
import { fill, h, number } from "./dom.js";

/**
 * @typedef {(number | null)[]} Values
 * @typedef {{label: string, last: Values, min?: Values, max?: Values, dash?: boolean}} Line
 */
/** @typedef {{x: number[], steps: number[], lines: Line[]}} ChartData steps: step of each x, for the clock */
/** @typedef {{from: number, to: number, severe: boolean}} Shade a span of steps with a finding */

const COLOURS = 8;
const ROWS = 25;
const SPARSE = 40;
/** Steps at the beginning whose outliers do not count for the vertical range, in plots of at least three times as many. */
const EARLY = 100;
/** Share of the steps on view by which a value may be older than the cursor before its step is shown. */
const OLD = 0.02;
const SYNC = "page";

/** Resolve a CSS colour variable, such as "--c1", to a colour of the theme. @param {string} name */
export function colour(name) {
  const probe = h("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const result = getComputedStyle(probe).color;
  probe.remove();
  return result;
}

/** The same colour, nearly transparent. @param {string} rgb @param {number} alpha */
const faint = (rgb, alpha) => rgb.replace(/^rgba?\(([^)]*?)\)$/, (_, parts) => `rgba(${parts.split(",").slice(0, 3).join(",")}, ${alpha})`);

/** Short numbers of axes: 12k, 3e-4. @param {number | null} value */
export function tick(value) {
  if (value === null) return "";
  if (Math.abs(value) >= 1e6) return `${Number((value / 1e6).toPrecision(4))}M`;
  if (Math.abs(value) >= 1e4) return `${Number((value / 1e3).toPrecision(4))}k`;
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential(1).replace(".0", "");
  return String(Number(value.toPrecision(4)));
}

/**
 * Index of the last of the sorted numbers that is not above `value`; 0 if all are.
 * @param {number[]} sorted
 * @param {number} value
 */
export function indexAt(sorted, value) {
  let low = 0, high = sorted.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (sorted[middle] <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** One chart on a clock. */
export class Chart {
  /** @type {ChartData} */
  data = { x: [], steps: [], lines: [] };
  /** @type {Shade[]} */
  shades = [];
  /** @type {number[]} steps at which a person changed a knob */
  changes = [];
  log = false;
  /** Weight of the past in the smoothed lines, 0 to 0.99. */
  smoothing = 0;
  /** @type {uPlot | null} */
  #plot = null;
  #shape = "";
  #severe = "";
  #mild = "";
  #change = "";
  /** @type {Set<string>} */
  #hiddenLines = new Set();

  /**
   * @param {string} title
   * @param {import("./clock.js").Clock} clock
   * @param {{help?: string, note?: string, unit?: string, height?: number, range?: [number, number], stepped?: boolean}} [options]
   *     note: a line under the title; range: of the vertical axis; stepped: values hold until the next one
   */
  constructor(title, clock, options = {}) {
    this.title = title;
    this.clock = clock;
    this.options = options;
    this.legend = h("ul", { class: "legend" });
    this.place = h("div", { class: "plot" });
    this.mark = h("div", { class: "clock-mark" });
    this.table = h("div", { class: "scroll" });
    const details = h("details", { ontoggle: () => this.#fillTable() }, h("summary", {}, "Numbers"), this.table);
    this.details = details;
    this.element = h("figure",
      { class: "chart", tabindex: 0, onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
      "aria-label": `Chart: ${title}. Left and right arrow keys move the clock.` },
    h("figcaption", {}, h("h3", { title: options.help ?? null }, title),
      options.unit && h("small", { class: "muted" }, options.unit), this.legend,
      options.note && h("small", { class: "muted note" }, options.note)), this.place, details);
    this.observer = new ResizeObserver(() => {
      const width = this.place.clientWidth;
      if (this.#plot && width
        && width !== this.#plot.width) { this.#plot.setSize({ width, height: this.#plot.height }); this.moveMark(); }
    });
    this.observer.observe(this.place);
    this.redraw = () => { this.#shape = ""; this.draw(this.data); };
    addEventListener("theme", this.redraw);
    this.unsubscribe = clock.subscribe((changed) => { if (changed.has("step")) this.moveMark(); });
  }

  destroy() {
    removeEventListener("theme", this.redraw);
    this.unsubscribe();
    this.observer.disconnect();
    this.#plot?.destroy();
  }

  /** Show new numbers; the plot is built again only if the lines are other ones. @param {ChartData} data */
  draw(data) {
    this.data = data;
    const banded = !this.options.stepped && data.lines.some((line) => line.min && line.max);
    const shape = JSON.stringify([data.lines.map((line) => line.label), this.log, banded, data.lines.map(isSparse)]);
    const columns = this.#columns(banded);
    if (shape === this.#shape && this.#plot) this.#plot.setData(columns);
    else {
      this.#plot?.destroy();
      this.#shape = shape;
      this.#plot = this.#build(columns, banded);
    }
    this.moveMark();
    if (this.details.open) this.#fillTable();
  }

  /** Columns of uPlot: x, then per line (min, max,) last. @param {boolean} banded @returns {any} */
  #columns(banded) {
    const positive = (/** @type {(number | null)[]} */ values) => this.log
      ? values.map((value) => (value !== null && value > 0 ? value : null)) : values;
    return [this.data.x, ...this.data.lines.flatMap((line) => [
      ...(banded ? [positive(line.min ?? line.last), positive(line.max ?? line.last)] : []), positive(smooth(line.last, this.smoothing))])];
  }

  /** @param {any} columns @param {boolean} banded */
  #build(columns, banded) {
    const palette = this.data.lines.map((_, index) => colour(`--c${(index % COLOURS) + 1}`));
    const text = colour("--muted"), grid = colour("--line");
    this.#severe = faint(colour("--bad"), 0.1);
    this.#mild = faint(colour("--warn"), 0.1);
    this.#change = colour("--accent");
    const fixed = this.log ? undefined : this.options.range;
    const stride = banded ? 3 : 1;
    const axis = { stroke: text, font: "11px system-ui", grid: { stroke: grid, width: 1 }, ticks: { show: false }, gap: 4 };
    const edge = { stroke: "transparent", width: 0, points: { show: false }, spanGaps: true };
    /** @type {any} */
    const options = {
      width: this.place.clientWidth || 320, height: this.options.height ?? 168, legend: { show: false },
        padding: [8, 16, 0, 0],
      scales: { x: { time: false },
        y: { distr: this.log ? 3 : 1,
          range: this.log ? undefined
            : (/** @type {any} */ _, /** @type {number | null} */ low, /** @type {number} */ high) =>
              fixed ?? padded(...this.#settled(low, high)) } },
      axes: [{ ...axis, size: 26, space: 64,
        values: (/** @type {any} */ _, /** @type {number[]} */ values) =>
          values.map((value) => this.clock.state.axis === "seconds" && value >= 600 ? `${tick(value / 60)} min`
            : tick(value)) },
        { ...axis, size: 54, space: 28,
          values: (/** @type {any} */ _, /** @type {number[]} */ values) => values.map(tick) }],
      series: [{}, ...this.data.lines.flatMap((line, index) => [...(banded ? [edge, edge] : []),
        { stroke: palette[index], width: 1.75, spanGaps: true, dash: line.dash ? [5, 4] : undefined,
          points: { show: isSparse(line), size: 5, fill: palette[index] },
          paths: this.options.stepped ? uPlot.paths.stepped?.({ align: 1 }) : undefined,
          show: !this.#hiddenLines.has(line.label) }])],
      bands: banded ? this.data.lines.map((_, index) =>
        ({ series: [index * stride + 2, index * stride + 1], fill: faint(palette[index], 0.16) })) : [],
      cursor: { sync: { key: SYNC, setSeries: false }, points: { size: 6 }, drag: { x: true, y: false, setScale: false }, y: false },
      hooks: { setCursor: [(/** @type {uPlot} */ plot) => this.#showValues(plot.cursor.idx ?? null)],
        setSelect: [(/** @type {uPlot} */ plot) => this.#select(plot)],
        draw: [() => this.moveMark()],
        drawClear: [(/** @type {uPlot} */ plot) => this.#shade(plot)] },
    };
    const plot = new uPlot(options, columns, this.place);
    plot.over.append(this.mark);
    let down = 0;
    plot.over.addEventListener("pointerdown", (event) => { down = event.clientX; });
    plot.over.addEventListener("click", (event) => { if (Math.abs(event.clientX - down) < 5) this.#moveTo(plot.cursor.idx ?? 0); });
    plot.over.addEventListener("dblclick", () => this.clock.update({ range: null }));
    fill(this.legend, this.data.lines.map((line, index) => this.#legendItem(line, palette[index], (index + 1) * stride, stride)));
    return plot;
  }

  /**
   * @param {Line} line
   * @param {string} rgb
   * @param {number} series index of the series in the plot
   * @param {number} stride number of series of the line, which end at that index
   */
  #legendItem(line, rgb, series, stride) {
    const swatch = h("i", { class: line.dash ? "swatch dash" : "swatch" });
    swatch.style.color = rgb;
    const button = h("button", { type: "button", "aria-pressed": !this.#hiddenLines.has(line.label), title: `Show or hide ${line.label}`,
        onclick: () => {
      const show = this.#hiddenLines.delete(line.label) || !this.#hiddenLines.add(line.label);
      for (let part = series - stride + 1; part <= series; part += 1) this.#plot?.setSeries(part, { show });
      button.setAttribute("aria-pressed", String(show));
    } }, swatch, this.data.lines.length > 1 ? `${line.label} ` : h("span", { class: "hidden" }, line.label),
      h("b", {}));
    return h("li", {}, button);
  }

  /** Show the values at an index in the legend; null: at the clock. @param {number | null} index */
  #showValues(index) {
    const { steps, lines } = this.data, at = index ?? indexAt(steps, this.clock.step);
    const reach = OLD * ((steps.at(-1) ?? 0) - (steps[0] ?? 0));
    this.legend.querySelectorAll("b").forEach((place, line) => {
      const values = lines[line]?.last ?? [], found = lastIndex(values, at);
      const step = index === null ? this.clock.step : steps[at];
      place.textContent = number(values[found]) + (step - steps[found] > reach ? ` at step ${number(steps[found])}` : "");
    });
  }

  /** Draw spans with findings behind the lines. @param {uPlot} plot */
  #shade(plot) {
    const { ctx, bbox } = plot;
    const place = (/** @type {number} */ step) =>
      Math.min(Math.max(plot.valToPos(this.#position(step), "x", true), bbox.left), bbox.left + bbox.width);
    for (const { from, to, severe } of this.shades) {
      const left = place(from), right = place(to);
      ctx.fillStyle = severe ? this.#severe : this.#mild;
      if (right > left) ctx.fillRect(left, bbox.top, right - left, bbox.height);
    }
    ctx.fillStyle = this.#change;
    for (const step of this.changes) {
      const left = plot.valToPos(this.#position(step), "x", true);
      for (let top = bbox.top; left >= bbox.left && left <= bbox.left + bbox.width && top < bbox.top + bbox.height; top += 8)
        ctx.fillRect(left - 1, top, 2, 5);
    }
  }

  /**
   * Lowest and highest value after the first steps, which would squash the rest.
   * @param {number | null} low
   * @param {number} high
   * @returns {[number | null, number]}
   */
  #settled(low, high) {
    const { steps, lines } = this.data, first = steps.findIndex((step) => step > EARLY);
    if (low === null || first < 0 || steps[steps.length - 1] < 3 * EARLY || steps[0] > EARLY) return [low, high];
    const values = lines.filter(({ label }) => !this.#hiddenLines.has(label)).flatMap(({ last, min = last, max = last }) =>
      [...min.slice(first), ...max.slice(first)]).filter((value) => value !== null);
    return values.length ? [Math.min(...values), Math.max(...values)] : [low, high];
  }

  /** Value of the horizontal axis at a step. @param {number} step */
  #position(step) {
    const { x, steps } = this.data, index = indexAt(steps, step);
    if (x === steps || steps[index] === x[index]) return step;
    return x[index] ?? 0;
  }

  /** Move the line of the clock and the values of the legend. */
  moveMark() {
    if (!this.#plot || !this.data.x.length) return;
    const position = this.#plot.valToPos(this.#position(this.clock.step), "x");
    this.mark.hidden = !(position >= -1 && position <= this.#plot.over.clientWidth + 1);
    this.mark.style.transform = `translateX(${Math.round(position)}px)`;
    this.#showValues(null);
  }

  /** @param {uPlot} plot */
  #select(plot) {
    const { left, width } = plot.select;
    if (width < 5) return;
    const [from, to] = [left, left + width].map((pixel) => this.data.steps[plot.posToIdx(pixel)]);
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    if (to > from) this.clock.update({ range: [from, to] });
  }

  /** @param {number} index */
  #moveTo(index) {
    const step = this.data.steps[Math.min(Math.max(index, 0), this.data.steps.length - 1)];
    if (step !== undefined) this.clock.update({ step });
    const values = this.data.lines.map((line) => `${line.label} ${number(line.last[lastIndex(line.last, index)])}`);
    announce(`${this.title}, step ${step}: ${values.join(", ")}`);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.target !== this.element) return;
    const index = indexAt(this.data.steps, this.clock.step), stride = event.shiftKey ? 10 : 1;
    const target = { ArrowLeft: index - stride, ArrowRight: index + stride, Home: 0, End: this.data.steps.length - 1 }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.#moveTo(target);
  }

  #fillTable() {
    if (!this.details.open) return;
    const { x, steps, lines } = this.data, from = x[0] ?? 0, width = (x.at(-1) ?? 0) - from;
    const around = this.changes.map((step) => indexAt(steps, step)).flatMap((index) => [index, index + 1]);
    const even = Array.from({ length: ROWS }, (_, row) => indexAt(x, from + (row * width) / (ROWS - 1)));
    const rows = [...new Set([...even, ...around])].filter((row) => row < x.length).sort((a, b) => a - b);
    fill(this.table, h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, this.clock.state.axis),
        lines.map((line) => h("th", { scope: "col", class: "right" }, line.label)))),
      h("tbody", {}, rows.map((row) =>
        h("tr", {}, h("th", { scope: "row" }, number(x[row])),
          lines.map((line) => h("td", { class: "right" }, number(line.last[row]))))))));
  }
}

/** Index of the last number up to an index; -1 if there is none. @param {(number | null)[]} values @param {number} index */
function lastIndex(values, index) {
  let at = Math.min(index, values.length - 1);
  while (at >= 0 && values[at] === null) at -= 1;
  return at;
}

/** Whether a line has so few numbers that each is drawn as a point. @param {Line} line */
const isSparse = (line) => line.last.filter((value) => value !== null).length < SPARSE;

/**
 * Range of the vertical axis around all values; a constant is in the middle.
 * @param {number | null} low
 * @param {number} high
 * @returns {[number | null, number | null]}
 */
function padded(low, high) {
  if (low === null) return [0, 1];
  if (low === high) return [low - (Math.abs(low) / 2 || 1), high + (Math.abs(high) / 2 || 1)];
  return uPlot.rangeNum(low, high, 0.1, true);
}

/**
 * Running mean with exponential weights, corrected for its start.
 * @param {(number | null)[]} values
 * @param {number} weight
 */
function smooth(values, weight) {
  if (!weight) return values;
  let sum = 0, total = 0;
  return values.map((value) => {
    if (value === null || !Number.isFinite(value)) return value;
    sum = weight * sum + (1 - weight) * value;
    total = weight * total + 1 - weight;
    return sum / total;
  });
}
