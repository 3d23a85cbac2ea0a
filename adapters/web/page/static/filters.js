// The filters of the list of runs, each of which is in the address.
import { html, useEffect, useState } from "./core.js";
import { label, slot } from "./format.js";
import { Said, Shape } from "./parts.js";
import { go, to } from "./router.js";

const SHOWN = ["INITIATED", "RUNNING", "PAUSED", "COMPLETED", "CANCELLED"];
const TYPING = 250; // ms

/** What the API is asked by, of what the address says. */
export function filterOf(query) {
  const filter = new URLSearchParams(query);
  for (const name of ["order", "cursor", "limit"]) filter.delete(name);
  return filter;
}

/** A filter as the body of a request has it. */
export function asBody(filter) {
  const many = new Set(["state", "status"]), body = {};
  for (const name of new Set(filter.keys())) {
    const values = filter.getAll(name);
    if (name.startsWith("search.")) (body.search ??= {})[name.slice(7)] = values;
    else body[name] = many.has(name) ? values : values[0];
  }
  return body;
}

export function useQuery(query) {
  const put = (change, replace) => {
    const next = new URLSearchParams(query);
    change(next);
    go(to(["runs"], next), { replace });
  };
  return {
    put,
    set: (name, value, replace) => put((q) => (value ? q.set(name, value) : q.delete(name)), replace),
    toggle: (name, value) => put((q) => {
      const kept = q.getAll(name).filter((other) => other !== value);
      const had = q.getAll(name).length !== kept.length;
      q.delete(name);
      for (const other of had ? kept : [...kept, value]) q.append(name, other);
    }),
  };
}

export function Filters({ query, flows }) {
  const { put, set, toggle } = useQuery(query);
  const flow = flows.find(({ name }) => name === query.get("workflow"));
  const pick = (name) => put((q) => {
    for (const key of [...q.keys()]) if (key === "status" || key.startsWith("search.")) q.delete(key);
    name ? q.set("workflow", name) : q.delete("workflow");
  });
  return html`<section class="filters" aria-label="Filters" role="search">
    <${Prefix} query=${query} set=${set} />
    <select aria-label="Workflow" value=${query.get("workflow") ?? ""} onChange=${(event) => pick(event.target.value)}>
      <option value="">All workflows</option>${flows.map(({ name }) => html`<option key=${name} value=${name}>${name}</option>`)}</select>
    <div class="chips" role="group" aria-label="State">${SHOWN.map((state) => html`<button key=${state} class="chip"
      aria-pressed=${String(query.getAll("state").includes(state))} onClick=${() => toggle("state", state)}>
      <${Shape} state=${state} />${label(state)}</button>`)}</div>
    ${flow && html`<select aria-label="Status" value="" onChange=${(event) => event.target.value && toggle("status", event.target.value)}>
      <option value="">Status…</option>${flow.statuses.map((status) => html`<option key=${status} value=${status}>${label(status)}</option>`)}</select>`}
    ${flow?.search?.length > 0 && html`<${Search} fields=${flow.search} add=${(name, value) => toggle(`search.${name}`, value)} />`}
    <${Since} set=${set} />
    <${Chosen} query=${query} toggle=${toggle} set=${set} />
  </section>`;
}

function Prefix({ query, set }) {
  const said = query.get("foreign_id") ?? query.get("prefix") ?? "";
  const [text, setText] = useState(said);
  useEffect(() => setText(said), [said]);
  useEffect(() => {
    if (text === said || query.has("foreign_id")) return undefined;
    const timer = setTimeout(() => set("prefix", text, true), TYPING);
    return () => clearTimeout(timer);
  }, [text]);
  return html`<input type="search" data-filter class="find" aria-label="Foreign id begins with" placeholder="Foreign id…  /"
    value=${text} readonly=${query.has("foreign_id")} spellcheck="false" onInput=${(event) => setText(event.target.value)} />`;
}

function Search({ fields, add }) {
  const [name, setName] = useState(fields[0]);
  const [value, setValue] = useState("");
  const submit = (event) => (event.preventDefault(), value && (add(name, value), setValue("")));
  return html`<form class="search" onSubmit=${submit}>
    <select aria-label="Field" value=${name} onChange=${(event) => setName(event.target.value)}>
      ${fields.map((field) => html`<option key=${field} value=${field}>${field}</option>`)}</select>
    <input type="text" aria-label=${`Value of ${name}`} placeholder="is…" value=${value} onInput=${(event) => setValue(event.target.value)} /></form>`;
}

const SPANS = [["15 minutes", 15], ["hour", 60], ["day", 1_440], ["week", 10_080]];

function Since({ set }) {
  const choose = (value) => {
    const [name, minutes] = value.split(" ");
    if (minutes) set(name, new Date(Date.now() - Number(minutes) * 60_000).toISOString());
  };
  const group = (name, verb) => html`<optgroup label=${verb}>${SPANS.map(([span, minutes]) => html`
    <option value=${`${name} ${minutes}`}>${verb} in the last ${span}</option>`)}</optgroup>`;
  return html`<select aria-label="Time" value="" onChange=${(event) => choose(event.target.value)}>
    <option value="">Any time</option>${group("updated_after", "Changed")}${group("created_after", "Created")}</select>`;
}

const TIMES = {
  created_after: "created since", created_before: "created before",
  updated_after: "changed since", updated_before: "changed before",
};

/** What is chosen and has no control of its own that shows it. */
function Chosen({ query, toggle, set }) {
  const chosen = [...query].filter(([name]) =>
    name === "status" || name === "foreign_id" || name.startsWith("search.") || name in TIMES);
  return chosen.length > 0 && html`<div class="chips">${chosen.map(([name, value]) => {
    const told = TIMES[name] ? `${TIMES[name]} ${slot(value)}`
      : name === "status" ? label(value) : name === "foreign_id" ? `foreign id is ${value}` : `${name.slice(7)} is ${value}`;
    const drop = () => (TIMES[name] || name === "foreign_id" ? set(name, "") : toggle(name, value));
    return html`<button key=${name + value} class="chip" aria-pressed="true" onClick=${drop} aria-label=${`Without: ${told}`}>
      <${Said}>${told}<//> <span aria-hidden="true">×</span></button>`;
  })}</div>`;
}
