// The list of runs: as many as there are, of which the page holds only what is seen.
import { ask, path } from "./api.js";
import { html, useCallback, useEffect, useLayoutEffect, useRef, useState } from "./core.js";
import { Bulk } from "./bulk.js";
import { filterOf, Filters, useQuery } from "./filters.js";
import { field, inline, label, number } from "./format.js";
import { rowKeys } from "./keys.js";
import { useLive } from "./live.js";
import { Ago, Empty, Failed, Head, Missing, Said, State } from "./parts.js";
import { to } from "./router.js";

const FIRST = 100, MORE = 500; // rows of the first page, and of those that follow
const BEYOND = 12; // rows that are drawn above and below those that are seen
const ORDER = "-updated";

/** Rows of further pages stay behind those of the first one, which is asked for again and again. */
function useRows(query) {
  const asked = new URLSearchParams(query);
  if (!asked.has("order")) asked.set("order", ORDER);
  const order = asked.get("order"), key = asked.toString();
  const [more, setMore] = useState({ key: "", rows: [], cursor: undefined });
  const [failed, setFailed] = useState(null);
  const page = useLive(`runs ${key}`, (signal) => ask(path("runs"), { signal, query: `${key}&limit=${FIRST}` }), {
    every: 2_000, events: eventsOf(query),
  });
  const later = more.key === key ? more : { key, rows: [], cursor: undefined };
  const first = page.data?.runs ?? [];
  const rows = page.data?.cursor ? [...first, ...beyond(first, later.rows, order)] : first;
  const cursor = later.cursor === undefined ? page.data?.cursor : later.cursor;
  const busy = useRef(false);
  const next = useCallback(async () => {
    if (busy.current || !cursor) return;
    busy.current = true;
    try {
      const found = await ask(path("runs"), { query: `${key}&limit=${MORE}&cursor=${encodeURIComponent(cursor)}` });
      setFailed(null);
      setMore({ key, rows: [...rows, ...found.runs], cursor: found.cursor });
    } catch (error) {
      setFailed(error);
    } finally {
      busy.current = false;
    }
  }, [key, cursor, rows.length]);
  return { page, rows, next, order, more: Boolean(cursor), failed };
}

function eventsOf(query) {
  const heard = new URLSearchParams();
  for (const name of ["workflow", "foreign_id"]) if (query.has(name)) heard.set(name, query.get(name));
  return heard.toString();
}

/** Of rows that were loaded, those that come after the first page's last in the order of the list. */
function beyond(first, rows, order) {
  const last = first.at(-1);
  if (!last) return [];
  const name = order.replace("-", ""), down = order.startsWith("-");
  const key = (run) => (name === "foreign_id" ? run.foreign_id : Date.parse(run[`${name}_at`]));
  const shown = new Set(first.map((run) => run.run_id)), seen = new Set();
  return rows.filter((run) => {
    if (shown.has(run.run_id) || seen.has(run.run_id)) return false;
    seen.add(run.run_id);
    return down ? key(run) <= key(last) : key(run) >= key(last);
  });
}

export function Runs({ at, workflows }) {
  const { query } = at, flows = workflows.data?.workflows ?? [];
  const flow = flows.find(({ name }) => name === query.get("workflow"));
  const filter = filterOf(query), said = filter.toString();
  const found = useRows(query);
  const count = useLive(`count ${said}`, (signal) => ask(path("runs", "count"), { signal, query: said }), { every: 3_000 });
  const [chosen, setChosen] = useState({ of: said, ids: new Set(), all: false });
  const mine = chosen.of === said ? chosen : { of: said, ids: new Set(), all: false };
  const choose = (ids, all = false) => setChosen({ of: said, ids, all });
  const toggle = (id) => {
    const ids = new Set(mine.ids);
    if (!ids.delete(id)) ids.add(id);
    choose(ids);
  };
  const total = count.data?.count;
  return html`<${Head} title=${flow ? `Runs of ${flow.name}` : "Runs"}
      badge=${total !== undefined && html`<span class="dim" role="status">${number(total)} ${total === 1 ? "run" : "runs"}</span>`} />
    <${Filters} query=${query} flows=${flows} />
    <${Missing} workers=${found.page.data?.missing} />
    <${Failed} error=${found.page.error ?? found.failed} />
    <${Bulk} chosen=${mine} filter=${filter} rows=${found.rows} total=${total} choose=${choose}
      done=${() => (found.page.refresh(), count.refresh())} />
    ${found.page.data ? found.rows.length ? html`<${Table} found=${found} query=${query} flow=${flow} chosen=${mine} choose=${choose} toggle=${toggle} total=${total} />`
      : html`<${Empty} title="No runs">${said ? "None fits these filters." : "They appear here as soon as there are any."}<//>`
      : !found.page.error && html`<p class="loading" role="status">Loading…</p>`}`;
}

function Table({ found, query, flow, chosen, choose, toggle, total }) {
  const { rows, next, order, more } = found;
  const box = useRef();
  const [seen, setSeen] = useState({ from: 0, to: 60, height: 34 });
  const measure = () => {
    const { scrollTop, clientHeight } = box.current;
    const height = box.current.querySelector("tr.run")?.offsetHeight || 34;
    const from = Math.max(Math.floor(scrollTop / height) - BEYOND, 0);
    const until = Math.ceil((scrollTop + clientHeight) / height) + BEYOND;
    setSeen((was) => (was.from === from && was.to === until && was.height === height ? was : { from, to: until, height }));
  };
  useLayoutEffect(measure, [rows.length]);
  useEffect(() => {
    addEventListener("resize", measure);
    return () => removeEventListener("resize", measure);
  }, []);
  useEffect(() => {
    if (more && seen.to > rows.length - 30) next();
  }, [seen.to, rows.length, more]);
  const columns = columnsOf(query, flow);
  const shown = rows.slice(seen.from, seen.to);
  const every = rows.length > 0 && (chosen.all || rows.every((run) => chosen.ids.has(run.run_id)));
  const gap = (count) => count > 0 && html`<tr class="gap" aria-hidden="true"><td style=${{ height: `${count * seen.height}px` }}></td></tr>`;
  return html`<div class="rows panel" ref=${box} onScroll=${measure} onKeyDown=${(event) => rowKeys(event, { select: toggle })} tabindex="0" role="group" aria-label="Runs">
    <table class="grid list" aria-rowcount=${total ?? rows.length}>
      <thead><tr><th scope="col" class="check"><input type="checkbox" aria-label="Select all that are loaded" checked=${every}
        onChange=${() => choose(every ? new Set() : new Set(rows.map((run) => run.run_id)))} /></th>
        ${columns.map((column) => html`<${Heading} key=${column.name} column=${column} order=${order} query=${query} />`)}</tr></thead>
      <tbody>${gap(seen.from)}
        ${shown.map((run, n) => html`<${Row} key=${run.run_id} run=${run} at=${seen.from + n} columns=${columns}
          on=${chosen.all || chosen.ids.has(run.run_id)} toggle=${toggle} />`)}
        ${gap(rows.length - seen.from - shown.length)}</tbody></table></div>`;
}

function columnsOf(query, flow) {
  return [
    { name: "foreign_id", title: "Foreign id", order: "foreign_id", class: "id" },
    !flow && { name: "workflow", title: "Workflow", class: "flow", of: (run) => html`<${Said}>${run.workflow}<//>` },
    { name: "state", title: "State", class: "state", of: (run) => html`<${State} state=${run.state} />` },
    { name: "status", title: "Status", class: "status", of: (run) => label(run.status) },
    ...(flow?.search ?? []).map((path) => ({
      name: `search.${path}`, title: path, class: "field",
      of: (run) => html`<${Said}>${inline(field(run.object, path))}<//>`,
    })),
    { name: "note", title: "Note", class: "note", of: noteOf },
    { name: "updated", title: "Changed", order: "updated", class: "time", of: (run) => html`<${Ago} at=${run.updated_at} />` },
    { name: "created", title: "Created", order: "created", class: "time made", of: (run) => html`<${Ago} at=${run.created_at} />` },
  ].filter(Boolean);
}

function noteOf(run) {
  if (run.error) {
    return html`<span class="red">${run.attempt > 1 ? `${run.attempt} × ` : ""}<${Said}>${run.error.type}: ${run.error.message}<//></span>`;
  }
  return run.reason ? html`<span class="dim"><${Said}>${run.reason}<//></span>` : null;
}

function Heading({ column, order, query }) {
  const { set } = useQuery(query);
  if (!column.order) return html`<th scope="col" class=${column.class}><${Said}>${column.title}<//></th>`;
  const on = order.replace("-", "") === column.order, down = order.startsWith("-");
  const next = on && down ? column.order : on ? `-${column.order}` : column.order === "foreign_id" ? "foreign_id" : `-${column.order}`;
  return html`<th scope="col" class=${column.class} aria-sort=${on ? (down ? "descending" : "ascending") : undefined}>
    <button class="sort" onClick=${() => set("order", next)}>${column.title}<span aria-hidden="true">${on ? (down ? " ↓" : " ↑") : ""}</span></button></th>`;
}

function Row({ run, at, columns, on, toggle }) {
  return html`<tr class="run ${on ? "on" : ""}" aria-rowindex=${at + 2}>
    <td class="check"><input type="checkbox" checked=${on} aria-label=${`Select ${run.foreign_id}`} onChange=${() => toggle(run.run_id)} /></td>
    <td class="id clip"><a class="cell" data-row=${run.run_id} href=${to(["run", run.run_id])}><${Said}>${run.foreign_id}<//></a>
      <small class="under">${label(run.status)}</small></td>
    ${columns.slice(1).map((column) => html`<td key=${column.name} class="${column.class} clip">${column.of(run)}</td>`)}</tr>`;
}
