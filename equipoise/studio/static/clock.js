/**
 * The clock of a page: one step that samples, charts and timeline show together, and the section of the run on view.
 * @module
 */

/**
 * @typedef {object} ClockState
 * @property {number} step the step that is shown
 * @property {number} last the last step of the run up to now
 * @property {number} end the last step that is planned, to which the timeline reaches
 * @property {boolean} follow whether the clock moves on with the run
 * @property {[number, number] | null} range first and last step on view; null: the whole run
 * @property {"step" | "images" | "seconds"} axis unit of the horizontal axes
 */

/** A clock that views listen to. */
export class Clock {
  /** @type {ClockState} */
  state = { step: 0, last: 0, end: 0, follow: true, range: null, axis: "step" };
  /** @type {Set<(changed: Set<string>) => void>} */
  #listeners = new Set();

  get step() { return this.state.step; }
  /** First and last step on view. @returns {[number, number]} */
  get span() { return this.state.range ?? [0, Math.max(1, this.state.last, this.state.end)]; }

  /**
   * Change the clock; listeners get the names of what changed. A step stays within the run.
   * @param {Partial<ClockState>} change
   */
  update(change) {
    const next = { ...this.state, ...change };
    if (change.step !== undefined && change.follow === undefined) next.follow = change.step >= next.last;
    if (next.follow) next.step = next.last;
    next.step = Math.round(Math.min(Math.max(next.step, 0), next.last));
    const changed = new Set(Object.keys(next).filter((key) => Reflect.get(next, key) !== Reflect.get(this.state, key)));
    this.state = next;
    if (changed.size) for (const listener of this.#listeners) listener(changed);
  }

  /** @param {(changed: Set<string>) => void} listener @returns {() => void} ends the subscription */
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => { this.#listeners.delete(listener); };
  }

  /** Zoom by a factor around the clock; 0 shows the whole run. @param {number} factor */
  zoom(factor) {
    const [from, to] = this.span, width = (to - from) * factor;
    if (!factor || width >= Math.max(this.state.last, this.state.end)) return this.update({ range: null });
    const start = Math.min(Math.max(0, this.step - width / 2), this.state.last - width);
    this.update({ range: [Math.round(start), Math.round(start + Math.max(4, width))] });
  }
}

/** @type {HTMLElement | null} */
let region = null;
let words = "", pending = 0;

/** Say a text in the one polite live region of the page, at most twice a second. @param {string} text */
export function announce(text) {
  words = text;
  if (pending) return;
  pending = setTimeout(() => {
    pending = 0;
    if (!region?.isConnected) {
      region = document.createElement("div");
      region.className = "hidden";
      region.setAttribute("aria-live", "polite");
      document.body.append(region);
    }
    region.textContent = words;
  }, 500);
}
