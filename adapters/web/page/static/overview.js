// The overview: how everything is, and what wants a person.
import { ask, path } from "./api.js";
import { html } from "./core.js";
import { label, number, plural, rate, short, sum } from "./format.js";
import { useLive } from "./live.js";
import { Ago, Empty, Failed, Head, LIVE, Loaded, Missing, Panel, Said, Spark, State, STATES } from "./parts.js";
import { to } from "./router.js";

export function Overview({ workflows }) {
  const lately = useLive("overview", (signal) => ask(path("overview"), { signal, query: `window=${WINDOW}` }), { every: 3_000 });
  const roles = useLive("roles", (signal) => ask(path("roles"), { signal }), { every: 3_000 });
  const stuck = useLive("stuck", (signal) => ask(path("runs"), {
    signal, query: "state=PAUSED&order=-updated&limit=8",
  }), { every: 3_000 });
  return html`<${Head} title="Overview" />
    <${Loaded} of=${workflows}>${({ workflows: flows, missing }) => html`
      <${Missing} workers=${missing} />
      <${Totals} flows=${flows} lately=${lately.data} />
      <${Stuck} flows=${flows} stuck=${stuck} />
      <${Flows} flows=${flows} lately=${lately.data} />`}<//>
    <${Workers} roles=${roles} />`;
}

const WINDOW = "10m";

/** How often something happened in each of the last buckets, in all of some workflows. */
function rates(lately, of, what) {
  const buckets = of[0]?.buckets ?? [];
  // The last one goes on, so it says too little yet.
  return buckets.slice(0, -1).map((_, n) => of.reduce((total, { buckets: those }) => total + those[n][what], 0) / lately.bucket);
}

const total = (rows, name) => rows.reduce((n, row) => n + row[name], 0);

function Totals({ flows, lately }) {
  const all = (states) => flows.reduce((n, flow) => n + sum(flow.counts, states), 0);
  return html`<section class="tiles" aria-label="Totals">
    ${["RUNNING", "PAUSED", "INITIATED", "COMPLETED"].map((state) => html`
      <a class="tile plain ${state === "PAUSED" && all(["PAUSED"]) ? "warn" : ""}" href=${to(["runs"], { state })}>
        <span>${label(state)}</span><strong>${short(all([state]))}</strong></a>`)}
    ${lately && html`<${Lately} lately=${lately} />`}
  </section>`;
}

function Lately({ lately }) {
  const of = lately.workflows, moves = rates(lately, of, "transitions"), failures = rates(lately, of, "failures");
  return html`<${Rate} name="Moves per second" values=${moves} />
    <${Rate} name="Errors per second" values=${failures} bad=${failures.some((n) => n > 0)} />
    <div class="tile"><span>Lag</span><strong>${short(total(of, "lag"))} <small>events</small></strong></div>`;
}

const Rate = ({ name, values, bad }) => html`<div class="tile wide">
  <span>${name}</span><strong>${rate(values.at(-1) ?? 0)}</strong>
  <div class="graph"><${Spark} values=${values} bad=${bad}
    label=${`${name} over the last ten minutes: now ${rate(values.at(-1) ?? 0)}, at most ${rate(Math.max(0, ...values))}`} /></div></div>`;

function Stuck({ flows, stuck }) {
  const held = flows.flatMap((flow) => Object.entries(flow.held).map(([status, told]) => ({ flow, status, told })));
  const paused = flows.reduce((total, flow) => total + sum(flow.counts, ["PAUSED"]), 0);
  const runs = stuck.data?.runs ?? [];
  if (!paused && !held.length && !runs.length) return html`<${Failed} error=${stuck.error} />`;
  const all = html`<a class="btn small" href=${to(["runs"], { state: "PAUSED", order: "-updated" })}>
    All ${number(paused)} paused</a>`;
  return html`<${Panel} title="Waits for a person" end=${paused > 0 && all} flush class="attention">
    <${Failed} error=${stuck.error} />
    <ul class="stuck">
      ${held.map(({ flow, status, told }) => html`<li>
        <span class="badge bad">Held</span>
        <a href=${to(["workflow", flow.name])}><strong><${Said}>${flow.name}<//></strong></a>
        <span class="dim">at ${label(status)}</span>
        <span class="why">${plural(told.failures, "failure")} in a row: <${Said}>${told.reason}<//></span>
        <span class="dim">tried <${Ago} at=${told.until} /></span></li>`)}
      ${runs.map((run) => html`<li key=${run.run_id}>
        <${State} state=${run.state} />
        <a href=${to(["run", run.run_id])}><strong><${Said}>${run.foreign_id}<//></strong></a>
        <span class="dim"><${Said}>${run.workflow}<//> at ${label(run.status)}</span>
        <span class="why"><${Said}>${reasonOf(run)}<//></span>
        <span class="dim"><${Ago} at=${run.updated_at} /></span></li>`)}
    </ul><//>`;
}

export const reasonOf = ({ error, reason }) =>
  error ? `${error.type}: ${error.message}` : reason || "no reason given";

function Flows({ flows, lately }) {
  if (!flows.length) return html`<${Empty} title="No workflows">This worker has none.<//>`;
  const shown = STATES.filter((state) => flows.some((flow) => sum(flow.counts, [state])) || LIVE.includes(state));
  return html`<${Panel} title="Workflows" flush><div class="scroll" tabindex="0" role="group" aria-label="Workflows">
    <table class="grid"><thead><tr><th scope="col">Workflow</th>
      ${shown.map((state) => html`<th scope="col" class="num">${label(state)}</th>`)}
      ${lately && html`<th scope="col" class="num">Moves/s</th><th scope="col" class="trend">Last ten minutes</th>
        <th scope="col" class="num">Errors in these</th><th scope="col" class="num">Lag</th><th scope="col" class="num">Shards</th>`}</tr></thead>
    <tbody>${flows.map((flow) => html`<${FlowRow} key=${flow.name} flow=${flow} shown=${shown} lately=${lately} />`)}</tbody>
    </table></div><//>`;
}

function FlowRow({ flow, shown, lately }) {
  const of = lately?.workflows.find(({ name }) => name === flow.name);
  return html`<tr><td><a class="cell" href=${to(["workflow", flow.name])}><${Said}>${flow.name}<//></a></td>
    ${shown.map((state) => {
      const count = sum(flow.counts, [state]);
      return html`<td class="num ${count ? "" : "zero"} ${state === "PAUSED" && count ? "amber" : ""}">
        <a href=${to(["runs"], { workflow: flow.name, state })}>${number(count)}</a></td>`;
    })}
    ${of && html`<${Trend} of=${of} lately=${lately} />`}</tr>`;
}

function Trend({ of, lately }) {
  const moves = rates(lately, [of], "transitions"), failures = total(of.buckets, "failures");
  return html`<td class="num">${rate(moves.at(-1) ?? 0)}</td>
    <td class="trend"><${Spark} values=${moves} label=${`Moves per second of ${of.name} over the last ten minutes`} /></td>
    <td class="num ${failures ? "red" : "zero"}">${number(failures)}</td>
    <td class="num ${of.lag ? "" : "zero"}">${number(of.lag)}</td>
    <td class="num ${of.live < of.shards ? "amber" : ""}">${of.live < of.shards ? `${of.live} of ${of.shards}` : of.shards}</td>`;
}

function Workers({ roles }) {
  return html`<${Panel} title="Workers" flush><${Loaded} of=${roles}>${({ roles: held, missing }) => html`
    <${Missing} workers=${missing} />
    <div class="scroll" tabindex="0" role="group" aria-label="Workers"><table class="grid"><thead><tr>
      <th scope="col">Worker</th><th scope="col">Workflows</th><th scope="col" class="num">Shards</th>
      <th scope="col" class="num">Roles active</th><th scope="col" class="num">Idle</th><th scope="col" class="num">Stopped</th>
      <th scope="col" class="num">Running</th><th scope="col" class="num">Waiting</th></tr></thead>
    <tbody>${[...grouped(held)].map(([worker, of]) => html`<tr key=${worker}>
      <td class="mono">${worker || html`<span title=${location.host}>this worker</span>`}</td>
      <td><${Said}>${[...new Set(of.map((role) => role.workflow))].join(", ")}<//></td>
      <td class="num">${new Set(of.map((role) => `${role.workflow}/${role.shard}`)).size}</td>
      ${["active", "idle", "stopped"].map((health) => html`<td class="num">
        ${number(of.filter((role) => role.health === health).length)}</td>`)}
      <td class="num">${number(total(of, "running"))}</td><td class="num">${number(total(of, "waiting"))}</td></tr>`)}
    </tbody></table></div>`}<//><//>`;
}

function grouped(roles) {
  const workers = new Map();
  for (const role of roles) workers.set(role.worker, [...(workers.get(role.worker) ?? []), role]);
  return workers;
}
