// A run: how it is and why, what has happened to it, and what can be done.
import { ask, path } from "./api.js";
import { clock, html, useCallback, useState, useStore } from "./core.js";
import { instant, label, relative } from "./format.js";
import { useLive } from "./live.js";
import { ObjectPanel } from "./object.js";
import { Ago, Copy, Failed, Head, LIVE, Loaded, Panel, Said, State } from "./parts.js";
import { to } from "./router.js";
import { Buttons, ForkRun, loadRun, Steer } from "./steering.js";
import { Failure, Timeline } from "./timeline.js";

export function Run({ at }) {
  const id = at.parts[1] ?? "";
  const load = useCallback((signal) => loadRun(id, signal), [id]);
  const [every, setEvery] = useState(1_000);
  const run = useLive(`run ${id}`, async (signal) => {
    const found = await load(signal);
    setEvery(LIVE.includes(found.state) ? 1_000 : 5_000);
    return found;
  }, { events: `run_id=${encodeURIComponent(id)}`, every });
  return html`<${Loaded} of=${run} absent="No such run">${(told) => html`<${Shown} run=${told} live=${run} />`}<//>
    ${run.error && !run.data && html`<${Head} title="Run" />`}`;
}

function Shown({ run, live }) {
  const [asked, setAsked] = useState(null); // an action, or {fork: version}
  const [version, setVersion] = useState(null);
  const history = useLive(`history ${run.run_id} ${run.version} ${run.state}`, (signal) => ask(path("runs", run.run_id, "history"), { signal }), { every: 30_000 });
  // While the history of a new version is on its way, the one before it is shown.
  const [kept, setKept] = useState(null);
  if (history.data && history.data !== kept) setKept(history.data);
  const told = history.data ?? kept, deleted = run.state.startsWith("DATA_");
  const close = () => setAsked(null);
  const done = (changed) => (changed ? live.change(() => changed) : live.refresh(), live.refresh());
  return html`<${Head} title=${run.foreign_id} badge=${html`<${State} state=${run.state} /><span class="badge">${label(run.status)}</span>`}
      crumbs=${[[run.workflow, to(["workflow", run.workflow])], ["Runs", to(["runs"], { workflow: run.workflow })]]}>
      <${Buttons} run=${run} act=${setAsked} />
      ${!deleted && html`<button class="btn" onClick=${() => setAsked({ fork: version ?? run.version })}>Fork</button>`}<//>
    <${Why} run=${run} />
    <div class="split">
      <div class="column">${told ? html`<${Timeline} history=${told} version=${version} select=${setVersion}
          fork=${(from) => setAsked({ fork: from })} ended=${deleted} />`
        : history.error ? html`<${Failed} error=${history.error} />` : html`<p class="loading" role="status">Loading…</p>`}</div>
      <div class="column">
        <${Waits} run=${run} />
        <${ObjectPanel} run=${run} events=${told?.events ?? []} version=${version} setVersion=${setVersion} />
        <${Facts} run=${run} />
      </div></div>
    ${typeof asked === "string" && html`<${Steer} run=${run} action=${asked} close=${close} done=${done} />`}
    ${asked?.fork !== undefined && html`<${ForkRun} run=${run} version=${asked.fork} close=${close} />`}`;
}

/** In a sentence: what the run waits for. */
function Why({ run }) {
  const now = useStore(clock), when = (at) => relative(at, now);
  const [kind, text] = because(run, when);
  if (!text) return null;
  return html`<section class="why-box ${kind}" aria-label="Why it is where it is">
    <p><strong>${text}</strong></p>
    ${run.reason && !run.error && html`<p><${Said}>${run.reason}<//></p>`}
    ${run.error && LIVE.includes(run.state) && html`<${Failure} error=${run.error} open=${run.state === "PAUSED"} />`}
  </section>`;
}

function because(run, when) {
  const { state } = run;
  if (state === "PAUSED") {
    const until = run.resume_at ? `It goes on by itself ${when(run.resume_at)}.` : "Nothing happens until somebody resumes it.";
    return ["warn", `Paused at ${label(run.status)}. ${until}`];
  }
  if (state === "CANCELLED") return ["", `Cancelled at ${label(run.status)} ${when(run.updated_at)}.`];
  if (!LIVE.includes(state)) return ["", ""];
  if (run.held_until) return ["bad", `Its step is held for all runs. One is tried ${when(run.held_until)}.`];
  if (run.error) return ["bad", `Attempt ${run.attempt} failed.${run.due_at ? ` The next one is ${when(run.due_at)}.` : ""}`];
  const children = run.children.filter((child) => !child.state).length;
  if (children) return ["", `${children} of the ${run.children.length} runs that it started are in progress.`];
  if (run.due_at && new Date(run.due_at) > Date.now()) return ["", `Its step runs ${when(run.due_at)}.`];
  if (run.callbacks.length) return ["", "A callback is being answered."];
  if (run.timers.length) return ["", "It waits for an answer from outside, or for a timer."];
  return ["", ""];
}

function Waits({ run }) {
  const now = useStore(clock);
  const { timers, callbacks, children, hooks } = run;
  if (!timers.length && !callbacks.length && !children.length && !hooks.length) return null;
  return html`<${Panel} title="Waits for" flush><ul class="waits">
    ${timers.map((timer) => html`<li><span class="badge">timer</span><${Said}>${timer.name}<//>
      <span class="end" title=${instant(timer.due_at)}>${relative(timer.due_at, now)}</span></li>`)}
    ${callbacks.map((call) => html`<li><span class="badge">callback</span><${Said}>${call.name || "callback"}<//>
      ${call.attempt > 0 && html`<span class="badge bad">attempt ${call.attempt}</span>`}
      <span class="end">kept until <${Ago} at=${call.until} /></span></li>`)}
    ${hooks.map((hook) => html`<li><span class="badge">hook</span>${hook}</li>`)}
    ${children.map((child) => html`<li><span class="badge">run</span>
      <a href=${to(["run", child.run_id])}><${Said}>${child.workflow} / ${child.foreign_id}<//></a>
      <span class="end"><${State} state=${child.state ?? "RUNNING"} /></span></li>`)}</ul><//>`;
}

/** Where a trace is looked at, if a setting says it; of the web alone, whoever has set it. */
function traceAt(template, id) {
  return /^https?:/.test(template ?? "") ? template.replaceAll("{trace_id}", encodeURIComponent(id)) : null;
}

function Trace({ id }) {
  const settings = useLive("settings", (signal) => ask("page/settings.json", { signal }), { every: 600_000 });
  const at = traceAt(settings.data?.trace_url, id);
  return html`${at ? html`<a class="link" href=${at} rel="noreferrer" target="_blank"><${Said} mono>${id}<//></a>` : html`<${Said} mono>${id}<//>`}
    <${Copy} text=${id} what="Trace id" />`;
}

function Facts({ run }) {
  const [parentFlow, parentId] = run.parent.split("/");
  const [origin, version] = run.origin.split("@");
  const facts = [
    ["Run", html`<${Said} mono>${run.run_id}<//> <${Copy} text=${run.run_id} what="Run id" />`],
    ["Workflow", html`<a href=${to(["workflow", run.workflow])}><${Said}>${run.workflow}<//></a>`],
    ["Version", run.version],
    ["Created", html`${instant(run.created_at)} <span class="dim">(<${Ago} at=${run.created_at} />)</span>`],
    ["Changed", html`${instant(run.updated_at)} <span class="dim">(<${Ago} at=${run.updated_at} />)</span>`],
    run.forget_at && ["Kept until", instant(run.forget_at)],
    run.parent && ["Started by", html`<a href=${to(["run", parentId])}><${Said}>${parentFlow}<//></a>`],
    run.origin && ["Forked from", html`<a href=${to(["run", origin])}><${Said} mono>${origin}<//></a>, version ${version}`],
    run.trace_id && ["Trace", html`<${Trace} id=${run.trace_id} />`],
    ["Same foreign id", html`<a class="link" href=${to(["runs"], { workflow: run.workflow, foreign_id: run.foreign_id })}>All its runs</a>`],
  ];
  return html`<${Panel} title="Facts"><dl class="facts">${facts.filter(Boolean).map(([name, value]) => html`
    <dt>${name}</dt><dd>${value}</dd>`)}</dl><//>`;
}
