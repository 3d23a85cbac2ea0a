// Small parts that all views share.
import { gone, link } from "./api.js";
import { announce, clock, html, store, useEffect, useId, useRef, useState, useStore } from "./core.js";
import { instant, label, relative } from "./format.js";
import { arrived } from "./router.js";

const SHAPES = {
  INITIATED: "M6 2.2a3.8 3.8 0 1 0 0 7.6a3.8 3.8 0 1 0 0-7.6",
  RUNNING: "M3.5 2v8l6-4z",
  PAUSED: "M3.5 2.5v7M8.5 2.5v7",
  COMPLETED: "M2 6.5l2.8 2.8L10 3.4",
  CANCELLED: "M3 3l6 6M9 3l-6 6",
  DATA_DELETION_REQUESTED: "M2 6h8",
  DATA_DELETED: "M2 6h8",
};
export const STATES = Object.keys(SHAPES);
export const LIVE = ["INITIATED", "RUNNING", "PAUSED"];

export const Shape = ({ state }) => html`
  <svg width="10" height="10" viewBox="0 0 12 12" fill=${state === "RUNNING" ? "currentColor" : "none"}
    stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"
    aria-hidden="true"><path d=${SHAPES[state] ?? SHAPES.INITIATED} /></svg>`;

/** The state of a run: a shape and a word, so that no colour has to be told from another. */
export const State = ({ state }) => html`
  <span class="badge ${SHAPES[state] ? state : ""}"><${Shape} state=${state} />${label(String(state))}</span>`;

export function Ago({ at }) {
  const now = useStore(clock);
  if (!at) return null;
  return html`<time datetime=${at} title=${instant(at)}>${relative(at, now)}</time>`;
}

/** Whatever somebody outside has written: shown as it is, and kept within its place. */
export const Said = ({ children, mono, title }) => html`
  <span class="said ${mono ? "mono" : ""}" title=${title}>${children}</span>`;

export const Empty = ({ title, children }) => html`
  <div class="empty"><strong>${title}</strong>${children && html`<span>${children}</span>`}</div>`;

/** What went wrong, in the words of who answered. */
export function Failed({ error }) {
  const { up } = useStore(link);
  if (!error || (error.status === 0 && !up)) return null;
  const title = error.status === 403 ? "You may not do this" : error.title ?? "Something went wrong";
  return html`<div class="problem" role="alert">
    <strong>${title}</strong>${error.message !== title && html`<span>${error.message}</span>`}
  </div>`;
}

/** Something that is loaded: `children` gets it, once it is there. */
export function Loaded({ of, children, absent }) {
  if (of.data) return html`<${Failed} error=${of.error} />${children(of.data)}`;
  if (of.error && gone(of.error) && absent) return html`<${Empty} title=${absent}>${of.error.message}<//>`;
  if (of.error) return html`<${Failed} error=${of.error} />`;
  return html`<p class="loading" role="status">Loading…</p>`;
}

/** Workers that did not answer, so that something is not there. */
export const Missing = ({ workers }) => workers?.length > 0 && html`
  <div class="problem" role="status"><strong>Not everything is here</strong>
    <span>No answer came from ${workers.join(", ")}: what they own is missing.</span></div>`;

export function Head({ title, crumbs = [], children, badge }) {
  const heading = useRef();
  useEffect(() => arrived() && heading.current.focus(), []);
  useEffect(() => {
    document.title = `${title} · streamwf`;
    announce(title);
  }, [title]);
  return html`<header>
    ${crumbs.length > 0 && html`<nav aria-label="Path" class="crumbs"><ol class="crumbs">
      ${crumbs.map(([name, href]) => html`<li><a href=${href}><${Said}>${name}<//></a></li>`)}</ol></nav>`}
    <h1 tabindex="-1" id="title" ref=${heading}><${Said}>${title}<//></h1>${badge}
    <div class="end">${children}</div>
  </header>`;
}

export function Panel({ title, end, children, flush, class: name = "" }) {
  const id = useId();
  return html`<section class="panel ${name}" aria-labelledby=${id}>
    <header><h2 id=${id}>${title}</h2>${end && html`<div class="end">${end}</div>`}</header>
    ${flush ? children : html`<div class="body">${children}</div>`}
  </section>`;
}

const toast = store(null);

/** Say something for a while, on the screen and to a screen reader. */
export function say(text) {
  announce(text);
  toast.set(text);
  setTimeout(() => toast.get() === text && toast.set(null), 5_000);
}

export function Toast() {
  const text = useStore(toast);
  return text && html`<div class="toast"><${Said}>${text}<//></div>`;
}

export function Copy({ text, what }) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      say(`${what} copied`);
    } catch {
      say(`${what} can't be copied from here`);
    }
  };
  return html`<button class="btn quiet small" onClick=${copy} aria-label=${`Copy ${what}`}>Copy</button>`;
}

/** A dialog that asks before something is done.
 *
 * act: does it, and returns when it is done; what it raises is shown. close: called at the end.
 */
export function Dialog({ title, verb, danger, act, close, children, ready = true }) {
  const box = useRef(), id = useId();
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  useEffect(() => box.current.showModal(), []);
  const submit = async (event) => {
    event.preventDefault();
    if (busy || !ready) return;
    setBusy(true);
    setError(null);
    try {
      if ((await act()) !== false) close();
    } catch (raised) {
      setError(raised);
    } finally {
      setBusy(false);
    }
  };
  return html`<dialog ref=${box} aria-labelledby=${id} onClose=${close}>
    <form onSubmit=${submit}>
      <h2 id=${id}><${Said}>${title}<//></h2>
      ${children}
      <${Failed} error=${error} />
      <div class="buttons">
        <button type="button" class="btn" onClick=${() => box.current.close()}>${verb ? "Not now" : "Close"}</button>
        ${verb && html`<button class="btn primary ${danger ? "danger" : ""}" disabled=${busy || !ready}>
          ${busy ? "Working…" : verb}</button>`}
      </div>
    </form>
  </dialog>`;
}

/** How a number went over time. values: the oldest first. */
export function Spark({ values, bad, label: told }) {
  const top = Math.max(...values, 1e-9), step = 100 / Math.max(values.length - 1, 1);
  const points = values.map((value, n) => `${(n * step).toFixed(2)},${(29 - (value / top) * 27).toFixed(2)}`);
  return html`<svg class="spark ${bad ? "bad" : ""}" viewBox="0 0 100 30" preserveAspectRatio="none"
    role="img" aria-label=${told}>
    ${points.length > 1 && html`<polygon class="area" points=${`0,30 ${points.join(" ")} 100,30`} />
      <polyline class="line" points=${points.join(" ")} />`}
  </svg>`;
}
