// The object of a run as it was at a version, and what has changed since another.
import { html, useState } from "./core.js";
import { differ, folded } from "./differ.js";
import { label } from "./format.js";
import { Copy, Empty, Panel } from "./parts.js";

const ABSENT = Symbol("absent");

/** The object at a version: that of the last event up to then which brought one. */
function objectAt(events, version) {
  let found = ABSENT;
  for (const event of events) {
    if (event.version <= version && event.object !== null) found = event.object;
  }
  return found;
}

const pretty = (value) => (value === ABSENT ? "" : JSON.stringify(value, null, 2));

/** version: what is selected in the timeline; null for the run as it is now. */
export function ObjectPanel({ run, events, version, setVersion }) {
  const [base, setBase] = useState("");
  const last = events.at(-1)?.version ?? run.version;
  const at = version ?? last;
  const value = version === null ? run.object : objectAt(events, at);
  const text = pretty(value);
  const from = base === "" ? null : objectAt(events, Number(base));
  const choices = events.map((event) => html`<option key=${event.version} value=${String(event.version)}>
    ${event.version} · ${event.type}${event.status ? ` ${label(event.status)}` : ""}</option>`);
  const controls = html`<label>Version <select aria-label="Version" value=${String(at)}
      onChange=${(event) => setVersion(Number(event.target.value))}>${choices}</select></label>
    <label>against <select aria-label="Compare with version" value=${base}
      onChange=${(event) => setBase(event.target.value)}><option value="">nothing</option>${choices}</select></label>
    <${Copy} text=${text} what="Object" />`;
  return html`<${Panel} title="Object" end=${events.length > 0 && controls} flush>
    ${value === ABSENT ? html`<${Empty} title="Not there">No event in this history has brought the object of that version.<//>`
      : from === null ? html`<${Json} text=${text} />` : html`<${Diff} before=${pretty(from)} after=${text} />`}<//>`;
}

const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(?:true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const COLOURED = 50_000; // characters; more is shown plain

export function Json({ text }) {
  return html`<pre class="json" tabindex="0" role="group" aria-label="Object">${text.length > COLOURED ? text : coloured(text)}</pre>`;
}

function coloured(text) {
  const parts = [];
  let from = 0;
  for (const found of text.matchAll(TOKEN)) {
    parts.push(text.slice(from, found.index));
    const [whole, string, colon] = found;
    const kind = colon ? "key" : string ? "string" : "other";
    parts.push(html`<span class=${kind}>${string ?? whole}</span>`, colon ?? "");
    from = found.index + whole.length;
  }
  return [...parts, text.slice(from)];
}

const SIGNS = { "+": "added", "-": "removed", "…": "left out", " ": "" };

function Diff({ before, after }) {
  if (before === after) return html`<${Empty} title="No difference">Both versions have the same object.<//>`;
  return html`<div class="json diff" tabindex="0" role="group" aria-label="Difference">
    ${folded(differ(before, after)).map(([sign, line]) => html`<div class=${`line ${SIGNS[sign].replace(" ", "-")}`}>
      <span class="sign" aria-label=${SIGNS[sign] || undefined}>${sign}</span><span class="said">${line}</span></div>`)}</div>`;
}
