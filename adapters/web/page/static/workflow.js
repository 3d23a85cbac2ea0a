// A workflow: its diagram with what is where, and a table that says the same.
import { ask, path, post } from "./api.js";
import { html, useMemo, useState } from "./core.js";
import { Diagram } from "./diagram.js";
import { label, number, span, sum } from "./format.js";
import { useLive } from "./live.js";
import { Ago, Dialog, Head, LIVE, Loaded, Missing, Panel, Said, say, Shape, STATES } from "./parts.js";
import { go, to } from "./router.js";
import { JsonField, parsedOr } from "./steering.js";

export function Workflow({ at }) {
  const name = at.parts[1] ?? "";
  const flow = useLive(`flow ${name}`, (signal) => ask(path("workflows", name), { signal }), {
    events: `workflow=${encodeURIComponent(name)}`, every: 1_500,
  });
  const roles = useLive("roles", (signal) => ask(path("roles"), { signal }), { every: 3_000 });
  const connectors = useLive(`connectors ${name}`, (signal) => ask(path("workflows", name, "connectors"), { signal }), { every: 4_000 });
  const [starting, setStarting] = useState(false);
  return html`<${Head} title=${name} crumbs=${[["Overview", "#/"]]}>
      <a class="btn" href=${to(["runs"], { workflow: name })}>Runs</a>
      <button class="btn primary" onClick=${() => setStarting(true)}>Start a run</button><//>
    <${Loaded} of=${flow} absent="No such workflow">${(told) => html`
      <${Missing} workers=${told.missing} />
      <${Shown} flow=${told} roles=${roles.data?.roles ?? []} />
      <${Connectors} found=${connectors} name=${name} />
      ${starting && html`<${Start} flow=${told} close=${() => setStarting(false)} />`}`}<//>`;
}

/** What is to be said of each status: counts, what is at work, what is slow or fails. */
function told(flow, roles) {
  return flow.statuses.map((status) => {
    const here = roles.filter((role) => role.workflow === flow.name && role.status === status);
    const step = flow.steps[status], counts = flow.counts[status] ?? {};
    const mean = step?.count ? step.seconds / step.count : null;
    return {
      status, counts, held: flow.held[status], mean, errors: step?.errors ?? 0,
      waiting: here.reduce((n, role) => n + role.waiting, 0),
      running: here.reduce((n, role) => n + role.running, 0),
      terminal: flow.terminal.includes(status), start: flow.start === status,
      live: sum({ [status]: counts }, LIVE), paused: counts.PAUSED ?? 0,
      slow: mean !== null && mean > SLOW,
    };
  });
}

const SLOW = 5; // seconds, on average

function Shown({ flow, roles }) {
  const statuses = useMemo(() => told(flow, roles), [flow, roles]);
  return html`<${Panel} title="States" end=${html`<${Legend} />`} flush>
      <${Diagram} flow=${flow} statuses=${statuses} /><//>
    <${Panel} title="Runs by status" flush><div class="scroll" tabindex="0" role="group" aria-label="Runs by status">
      <table class="grid"><thead><tr><th scope="col">Status</th>
        ${STATES.slice(0, 5).map((state) => html`<th scope="col" class="num">${label(state)}</th>`)}
        <th scope="col" class="num">At work</th><th scope="col" class="num">Waiting</th>
        <th scope="col" class="num">Step takes</th><th scope="col" class="num">Errors</th><th scope="col">Notes</th></tr></thead>
      <tbody>${statuses.map((of) => html`<tr key=${of.status}>
        <td><a class="cell" href=${to(["runs"], { workflow: flow.name, status: of.status })}>${label(of.status)}</a></td>
        ${STATES.slice(0, 5).map((state) => html`<td class="num ${of.counts[state] ? "" : "zero"} ${state === "PAUSED" && of.paused ? "amber" : ""}">
          <a href=${to(["runs"], { workflow: flow.name, status: of.status, state })}>${number(of.counts[state] ?? 0)}</a></td>`)}
        <td class="num">${number(of.running)}</td><td class="num">${number(of.waiting)}</td>
        <td class="num ${of.slow ? "amber" : ""}">${of.mean === null ? "–" : span(of.mean * 1_000)}</td>
        <td class="num ${of.errors ? "red" : "zero"}">${number(of.errors)}</td>
        <td>${of.held && html`<span class="badge bad">Held until <${Ago} at=${of.held.until} /></span> <${Said}>${of.held.reason}<//>`}
          ${of.start && html`<span class="badge">Start</span> `}${of.terminal && html`<span class="badge">End</span>`}</td></tr>`)}
      </tbody></table></div><//>`;
}

const Legend = () => html`<span class="legend">
  ${["INITIATED", "RUNNING", "PAUSED", "COMPLETED", "CANCELLED"].map((state) => html`
    <span class="key ${state}"><${Shape} state=${state} /> ${label(state)}</span>`)}</span>`;

function Connectors({ found, name }) {
  const connectors = found.data?.connectors ?? [];
  if (!connectors.length) return null;
  const steer = async (connector, action) => {
    try {
      await post(path("workflows", name, "connectors", connector.name, action));
      say(`${connector.name}: ${action} done`);
    } catch (error) {
      say(error.message);
    }
    found.refresh();
  };
  return html`<${Panel} title="Connectors" flush><div class="scroll" tabindex="0" role="group" aria-label="Connectors">
    <table class="grid"><thead><tr><th scope="col">Connector</th><th scope="col">Source</th><th scope="col">Partition</th>
      <th scope="col">State</th><th scope="col" class="num">Messages</th><th scope="col" class="num">Behind</th>
      <th scope="col" class="num">Set aside</th><th scope="col">Error</th><th scope="col"><span class="spoken">Steer</span></th></tr></thead>
    <tbody>${connectors.flatMap((connector) => connector.partitions.map((part, n) => html`<tr key=${part.run_id}>
      <td><${Said}>${connector.name}<//></td><td class="mono"><${Said}>${connector.source}<//></td>
      <td class="mono"><${Said}>${part.partition}<//></td><td>${label(part.state)}</td>
      <td class="num">${number(part.messages)}</td><td class="num">${part.behind === null ? "–" : number(part.behind)}</td>
      <td class="num">${number(part.set_aside)}</td>
      <td>${part.error && html`<span class="red"><${Said}>${part.error.type}: ${part.error.message}<//></span>`}</td>
      <td>${n === 0 && html`<button class="btn small" onClick=${() => steer(connector, part.state === "PAUSED" ? "resume" : "pause")}>
        ${part.state === "PAUSED" ? "Resume" : "Pause"}</button>`}</td></tr>`))}</tbody></table></div><//>`;
}

/** Start a run by hand. */
function Start({ flow, close }) {
  const [foreignId, setForeignId] = useState("");
  const [object, setObject] = useState("{}");
  const parsed = parsedOr(object);
  const act = async () => {
    const run = await post(path("workflows", flow.name, "runs"), { foreign_id: foreignId, object: parsed.value });
    say(`${foreignId} is started`);
    go(to(["run", run.run_id]));
  };
  return html`<${Dialog} title=${`Start a run of ${flow.name}`} verb="Start" act=${act} close=${close}
    ready=${foreignId !== "" && !parsed.error}>
    <label class="field">Foreign id<input type="text" value=${foreignId} autofocus
      onInput=${(event) => setForeignId(event.target.value)} />
      <small>What it is named in your own systems. It starts at ${label(flow.start)}; at most one run of it is in progress.</small></label>
    <${JsonField} label="Object" text=${object} set=${setObject} error=${parsed.error} /><//>`;
}
