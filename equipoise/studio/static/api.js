/**
 * Requests to the server of the studio, and its one stream of news.
 * @module
 */

/** An answer of the server that is not a success; the message is one line for people. */
export class ApiError extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** @param {string} path @param {RequestInit} [options] @returns {Promise<Response>} */
export async function request(path, options = {}) {
  const response = await fetch(path, { credentials: "same-origin", ...options }).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The studio does not answer. Is `equipoise studio` still running?");
  });
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  const expired = "The session is not valid. Open the address that `equipoise studio` printed.";
  throw new ApiError(response.status, body.error ?? (response.status === 401 ? expired : `The studio answered ${response.status}.`));
}

/**
 * GET, parsed as JSON. Parameters that are null or undefined are left out.
 * @param {string} path
 * @param {Record<string, string | number | null | undefined>} [parameters]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function get(path, parameters = {}, signal) {
  return (await request(url(path, parameters), { signal })).json();
}

/**
 * POST a JSON body; returns the parsed JSON of the answer.
 * @param {string} path
 * @param {unknown} body
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function post(path, body, signal) {
  return (await postRaw(path, body, signal)).json();
}

/**
 * POST a JSON body; returns the response, for instance a picture.
 * @param {string} path
 * @param {unknown} body
 * @param {AbortSignal} [signal]
 */
export function postRaw(path, body, signal) {
  return request(path, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" }, signal });
}

/** Objects of an answer that has one in each line, as they come. @param {Response} response @returns {AsyncGenerator<any>} */
export async function* lines({ body }) {
  const reader = /** @type {ReadableStream} */ (body).pipeThrough(new TextDecoderStream()).getReader();
  for (let text = "", done = false; !done;) {
    const chunk = await reader.read(), parts = (text + (chunk.value ?? "")).split("\n");
    done = chunk.done;
    text = done ? "" : parts.pop() ?? "";
    for (const part of parts) if (part) yield JSON.parse(part);
  }
}

/** @param {string} path @param {Record<string, string | number | null | undefined>} parameters */
export function url(path, parameters) {
  const entries = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined);
  const query = new URLSearchParams(entries.map(([name, value]) => [name, String(value)])).toString();
  return query ? `${path}?${query}` : path;
}

/** Path of a run in the API. @param {string} id @param {string} [rest] */
export const runPath = (id, rest = "") => `/api/runs/${encodeURIComponent(id)}${rest}`;

/**
 * Return a function that calls `load` with the newest argument; an older call is aborted. Errors of the newest call go
 * to `onerror`.
 * @template T
 * @param {(argument: T, signal: AbortSignal) => Promise<void>} load
 * @param {(error: Error) => void} onerror
 * @returns {(argument: T) => Promise<void>}
 */
export function latest(load, onerror) {
  let current = new AbortController();
  return async (argument) => {
    current.abort();
    const mine = (current = new AbortController());
    try {
      await load(argument, mine.signal);
    } catch (error) {
      if (!mine.signal.aborted) onerror(/** @type {Error} */ (error));
    }
  };
}

/**
 * Return a function that calls `load`, at most one at a time; calls meanwhile become one more call at the end. Between
 * two calls are `pause` milliseconds, and at least three times what the last one took, so that watching stays cheap;
 * there is no pause if it is 0.
 * @param {() => Promise<void>} load
 * @param {(error: Error) => void} onerror
 * @param {number} [pause]
 */
export function coalesce(load, onerror, pause = 250) {
  let busy = false, again = false;
  return async function trigger() {
    if (busy) return void (again = true);
    busy = true;
    const start = performance.now();
    try {
      await load();
    } catch (error) {
      onerror(/** @type {Error} */ (error));
    }
    setTimeout(() => {
      busy = false;
      if (again) { again = false; trigger(); }
    }, pause && Math.max(pause, Math.min(5000, 3 * (performance.now() - start))));
  };
}

// One stream a browser, because browsers allow six connections a host: the tab that gets the lock holds the stream and
// passes its news on to the other tabs. Where locks are missing (plain http on another host), each tab asks every 2 s.

/** @typedef {{id: string | null, step?: number, state?: string}} News id null: anything may have changed */
/** @type {Set<(news: News) => void>} */
const listeners = new Set();
const channel = new BroadcastChannel("equipoise-studio");
let leads = false, open = false;
channel.onmessage = ({ data }) => data === "hello" ? leads && channel.postMessage({ live: open }) : receive(data);
/** @type {(live: boolean) => void} */
let reportConnection = () => {};

/** @param {{news?: News, live?: boolean}} message */
function receive({ news, live }) {
  if (live !== undefined) reportConnection(live);
  if (news) for (const listener of listeners) listener(news);
}

/** @param {{news?: News, live?: boolean}} message */
function broadcast(message) {
  open = message.live ?? open;
  channel.postMessage(message);
  receive(message);
}

/** Read the stream until the tab closes; again 3 s after the server refused it. @returns {Promise<never>} */
function lead() {
  leads = true;
  const listen = () => {
    const source = new EventSource("/api/stream");
    source.addEventListener("run", (event) => broadcast({ news: JSON.parse(event.data) }));
    source.onopen = () => broadcast({ live: true, news: { id: null } });
    source.onerror = () => {
      broadcast({ live: false });
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
    };
  };
  listen();
  return new Promise(() => {});
}

/**
 * Start to receive news; `onconnection` learns whether the stream is open.
 * @param {(live: boolean) => void} onconnection
 */
export function connect(onconnection) {
  reportConnection = onconnection;
  channel.postMessage("hello");
  if (navigator.locks) navigator.locks.request("equipoise-studio-stream", lead);
  else setInterval(() => receive({ news: { id: null } }), 2000);
}

/**
 * Call `listener` at each news of a run (of any run if `id` is null); returns a function that ends it.
 * @param {string | null} id
 * @param {(news: News) => void} listener
 */
export function onNews(id, listener) {
  const filtered = (/** @type {News} */ news) => { if (!id || news.id === null || news.id === id) listener(news); };
  listeners.add(filtered);
  return () => { listeners.delete(filtered); };
}
