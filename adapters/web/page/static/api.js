// The API: what is asked of it, who asks, and whether it answers.
import { store } from "./core.js";

const ROOT = new URL("./", location.href.split(/[?#]/)[0]);
const TOKEN = "streamwf.token";
const PATIENCE = 20_000; // ms
const HEALING = 1_000; // ms between two looks whether the worker is back

/** Whether a token is wanted, and why. */
export const session = store({ wanted: false, why: "" });

/** Whether the worker answers, and since when it doesn't. healed: how often it came back. */
export const link = store({ up: true, since: 0, healed: 0 });

/** A problem (RFC 9457) that the API answered with, or that there was no answer. */
export class Problem extends Error {
  constructor(status, title, detail, members = {}) {
    super(detail || title);
    Object.assign(this, { status, title, detail, members });
  }
}

export const gone = (error) => error instanceof Problem && [404, 405, 501].includes(error.status);

export function signIn(token) {
  sessionStorage.setItem(TOKEN, token.trim());
  session.set({ wanted: false, why: "" });
  link.set({ ...link.get(), healed: link.get().healed + 1 });
}

export function signOut() {
  sessionStorage.removeItem(TOKEN);
  session.set({ wanted: true, why: "" });
}

export const signedIn = () => Boolean(sessionStorage.getItem(TOKEN));

export function headers(more = {}) {
  const token = sessionStorage.getItem(TOKEN);
  return { ...more, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
}

export const urlOf = (path) => new URL(path, ROOT);

/** Parts of a path, each of which may have any characters. */
export const path = (...parts) => ["api", "v1", ...parts].map(encodeURIComponent).join("/");

/** Ask a worker. Returns the answer's JSON, with its `etag` if it has one. Raises Problem. */
export async function ask(where, { method = "GET", body, etag, signal, query } = {}) {
  const response = await answerOf(where, { method, body, etag, signal, query });
  const told = await jsonOf(response);
  if (response.ok) {
    const tag = response.headers.get("ETag");
    return tag && told ? Object.defineProperty(told, "etag", { value: tag }) : told;
  }
  throw problemOf(response.status, response.statusText, told);
}

/** What makes a request count once, however often it is sent. */
export const keyOf = () => [...crypto.getRandomValues(new Uint8Array(16))].map((n) => n.toString(16).padStart(2, "0")).join("");

export const post = (where, body = {}, etag) => ask(where, { method: "POST", body, etag });

async function answerOf(where, { method = "GET", body, etag, signal, query }) {
  const url = urlOf(where);
  if (query) url.search = query;
  const patience = AbortSignal.timeout(PATIENCE), signed = signedIn();
  const options = {
    method,
    headers: headers({
      Accept: "application/json",
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      ...(etag ? { "If-Match": etag } : {}),
    }),
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: signal ? AbortSignal.any([signal, patience]) : patience,
    credentials: "same-origin",
    cache: "no-store",
  };
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (signal?.aborted) throw error;
    lost();
    throw new Problem(0, "No answer", "The worker does not answer.");
  }
  if (response.status === 401) wanted(await jsonOf(response.clone()), signed);
  return response;
}

async function jsonOf(response) {
  try {
    return await response.json();
  } catch {
    return null;
  }
}

function problemOf(status, statusText, told) {
  const title = told?.title || statusText || `Status ${status}`;
  return new Problem(status, title, told?.detail || "", told ?? {});
}

/** signed: whether there was a token, which is of no use then. */
function wanted(told, signed) {
  if (session.get().wanted) return;
  sessionStorage.removeItem(TOKEN);
  session.set({ wanted: true, why: signed ? told?.detail || "The token was not accepted." : "" });
}

/** Say that the worker is gone, and look until it is back. */
export function lost() {
  if (!link.get().up) return;
  link.set({ ...link.get(), up: false, since: Date.now() });
  heal();
}

async function heal() {
  while (!link.get().up) {
    await new Promise((later) => setTimeout(later, HEALING));
    try {
      const response = await fetch(urlOf("healthz"), {
        cache: "no-store", signal: AbortSignal.timeout(HEALING * 3),
      });
      if (response.ok) link.set({ up: true, since: 0, healed: link.get().healed + 1 });
    } catch {
      // Not yet.
    }
  }
}
