// Schedules: when they are next due, and what can be done to them.
import { ask, keyOf, path, post } from "./api.js";
import { clock, html, useMemo, useState, useStore } from "./core.js";
import { label, plural, relative, slot } from "./format.js";
import { useLive } from "./live.js";
import { Ago, Dialog, Empty, Head, Loaded, Missing, Panel, Said, say, State } from "./parts.js";
import { go, to } from "./router.js";
import { Reason } from "./steering.js";
import { Failure } from "./timeline.js";

export function Schedules({ workflows }) {
  const names = (workflows.data?.workflows ?? []).map(({ name }) => name);
  const found = useLive(`schedules ${names.join("/")}`, async (signal) => ({
    flows: await Promise.all(names.map((name) => ask(path("workflows", name, "schedules"), { signal }))),
  }), { every: 4_000 });
  const [asked, setAsked] = useState(null);
  const close = () => setAsked(null);
  return html`<${Head} title="Schedules" />
    <${Loaded} of=${workflows}>${() => html`<${Loaded} of=${found}>${({ flows }) => html`
      <${Missing} workers=${[...new Set(flows.flatMap(({ missing }) => missing))]} />
      <${All} schedules=${flows.flatMap(({ schedules }) => schedules)} ask=${(schedule, what) => setAsked({ schedule, what })} />`}<//>`}<//>
    ${asked && (asked.what === "run" ? html`<${RunNow} schedule=${asked.schedule} close=${close} />`
      : asked.what === "backfill" ? html`<${Backfill} schedule=${asked.schedule} close=${close} done=${found.refresh} />`
      : html`<${SteerSchedule} ...${asked} close=${close} done=${found.refresh} />`)}`;
}

function All({ schedules, ask: act }) {
  if (!schedules.length) return html`<${Empty} title="No schedules">Workflows declare them in code, or they are made by the API.<//>`;
  return html`<div class="cards">${schedules.map((schedule) => html`<${Card} key=${`${schedule.workflow}/${schedule.name}`} schedule=${schedule} act=${(what) => act(schedule, what)} />`)}</div>`;
}

function Card({ schedule, act }) {
  const now = useStore(clock), paused = schedule.state === "PAUSED", ended = !["RUNNING", "INITIATED", "PAUSED"].includes(schedule.state);
  const title = html`<${Said}>${schedule.name}<//> <a class="dim" href=${to(["workflow", schedule.workflow])}><${Said}>${schedule.workflow}<//></a>`;
  const buttons = !ended && html`
    <button class="btn small ${paused ? "primary" : ""}" onClick=${() => act(paused ? "resume" : "pause")}>${paused ? "Resume" : "Pause"}</button>
    <button class="btn small" onClick=${() => act("run")}>Run now</button>
    <button class="btn small" onClick=${() => act("backfill")}>Backfill</button>
    ${!schedule.declared && html`<button class="btn small danger" onClick=${() => act("delete")}>Delete</button>`}`;
  return html`<${Panel} title=${title} end=${buttons}>
    <div class="row"><${State} state=${schedule.state} /><code><${Said}>${schedule.cron}<//></code>
      <span class="dim"><${Said}>${schedule.timezone}<//></span>
      ${schedule.declared && html`<span class="badge">declared in code</span>`}</div>
    ${schedule.reason && html`<p class="dim"><${Said}>${schedule.reason}<//></p>`}
    ${schedule.error && html`<p class="red">Attempt ${schedule.attempt} failed${schedule.due_at ? html`; next <${Ago} at=${schedule.due_at} />` : ""}</p><${Failure} error=${schedule.error} />`}
    <dl class="facts"><dt>Next</dt><dd>${schedule.next_slots.length ? html`<ol class="slots">${schedule.next_slots.map((at, n) => html`
        <li class=${paused ? "faint" : ""}><time datetime=${at}>${slot(at)}</time> <span class="dim">${n === 0 || paused ? relative(at, now) : ""}</span></li>`)}</ol>`
        : "never again"}${paused && html`<span class="amber">Nothing is started while it is paused.</span>`}</dd>
      <dt>Last</dt><dd>${schedule.last_slot ? html`${slot(schedule.last_slot)} <span class="dim">(<${Ago} at=${schedule.last_slot} />)</span>` : "none yet"}</dd>
      <dt>Foreign id</dt><dd><a class="link" href=${to(["runs"], { workflow: schedule.workflow, prefix: schedule.foreign_id })}><${Said} mono>${schedule.foreign_id}<//></a></dd>
      <dt>If one runs</dt><dd>${label(schedule.overlap)}</dd>
      <dt>Catches up</dt><dd>${schedule.catch_up}</dd></dl><//>`;
}

const SAYS = {
  pause: "No run is started by it until it is resumed.",
  resume: "Runs are started again; of the slots that have passed, as many as it catches up.",
  delete: "It is gone; the runs that it has started stay.",
};

function SteerSchedule({ schedule, what, close, done }) {
  const [reason, setReason] = useState("");
  const verb = label(what);
  const act = async () => {
    await post(path("workflows", schedule.workflow, "schedules", schedule.name, what), { reason });
    say(`${verb}: ${schedule.name}`);
    done();
  };
  return html`<${Dialog} title=${`${verb}: ${schedule.name}`} verb=${verb} danger=${what === "delete"} act=${act} close=${close}>
    <p class="dim">${SAYS[what]}</p><${Reason} value=${reason} set=${setReason} /><//>`;
}

function RunNow({ schedule, close }) {
  const [reason, setReason] = useState("");
  // However often it is asked here, it is one run.
  const key = useMemo(keyOf, []);
  const act = async () => {
    const { run_id: started } = await post(path("workflows", schedule.workflow, "schedules", schedule.name, "run"), { reason, key });
    say(`${schedule.name} is started`);
    go(to(["run", started]));
  };
  return html`<${Dialog} title=${`Run now: ${schedule.name}`} verb="Run now" act=${act} close=${close}>
    <p class="dim">A run is started at once, beside all others. The slots stay as they are.</p>
    <${Reason} value=${reason} set=${setReason} /><//>`;
}

const DAY = 86_400_000; // ms

/** An instant as a field for local time has it. */
const local = (ms) => new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);

function Backfill({ schedule, close, done }) {
  const from = useMemo(() => Date.now() - DAY, []);
  const [start, setStart] = useState(local(from)), [end, setEnd] = useState(local(from + DAY));
  const [told, setTold] = useState(null);
  const ready = Boolean(start && end) && new Date(start) < new Date(end);
  const act = async () => {
    let at = new Date(start).toISOString(), slots = 0, left = 0;
    while (at) {
      const part = await post(path("workflows", schedule.workflow, "schedules", schedule.name, "backfill"), { start: at, end: new Date(end).toISOString() });
      slots += part.slots.length;
      left += part.left_out;
      at = part.cursor;
      setTold({ slots, left, ended: !at });
    }
    done();
    return false;
  };
  const when = (name, value, set) => html`<label class="field">${name}<input type="datetime-local" value=${value} onInput=${(event) => set(event.target.value)} /></label>`;
  return html`<${Dialog} title=${`Backfill ${schedule.name}`} verb=${told?.ended ? null : "Backfill"} act=${act} close=${close} ready=${ready}>
    <p class="dim">The slots of this range that have no run get one. Times are those of this machine.</p>
    ${when("From", start, setStart)}${when("Until", end, setEnd)}
    ${told && html`<p role="status">${plural(told.slots, "slot")} looked at, ${told.left} left out by the schedule${told.ended ? "." : "…"}</p>`}<//>`;
}
