// The events of a run, as they really were.
import { html, useState } from "./core.js";
import { instant, label, plural, span, timeOf } from "./format.js";
import { Panel, Said } from "./parts.js";

const KINDS = {
  failed: "bad", rejected: "bad", paused: "warn", pause: "warn", expired: "warn",
  cancelled: "off", cancel: "off", moved: "good", started: "good", resumed: "good",
};

const MANY = 200; // events that are shown without being asked for

/** version: the one that is selected; null for the latest. fork: called with the version to fork from. */
export function Timeline({ history, version, select, fork, ended }) {
  const [all, setAll] = useState(false);
  const { events, truncated } = history;
  const hidden = all ? 0 : Math.max(events.length - MANY, 0);
  const first = events[0] && new Date(events[0].time);
  return html`<${Panel} title="Timeline" end=${html`<span class="dim">${plural(events.length, "event")}${truncated ? ", earlier ones are left out" : ""}</span>`} flush>
    ${hidden > 0 && html`<button class="btn quiet" onClick=${() => setAll(true)}>Show ${plural(hidden, "earlier event")}</button>`}
    <ol class="timeline">${events.slice(hidden).map((event, n) => {
      const before = events[hidden + n - 1];
      return html`<${Moment} key=${event.version} event=${event} first=${first}
        since=${before && new Date(event.time) - new Date(before.time)}
        on=${version === event.version} select=${select} fork=${fork} forkable=${!ended} />`;
    })}</ol><//>`;
}

function Moment({ event, first, since, on, select, fork, forkable }) {
  const kind = KINDS[event.type] ?? "";
  return html`<li class="moment ${kind} ${on ? "on" : ""}">
    <span class="when"><time datetime=${event.time} title=${instant(event.time)}>${timeOf(event.time)}</time>
      <span class="faint">+${span(new Date(event.time) - first)}</span></span>
    <span class="dot" aria-hidden="true"></span>
    <div class="what">
      <div class="row">
        <button class="pick" aria-pressed=${String(on)} onClick=${() => select(on ? null : event.version)}
          aria-label=${`Version ${event.version}, ${event.type}${event.status ? ` ${label(event.status)}` : ""}: show its object`}>
          <strong>${label(event.type)}</strong>${event.status && html` <span class="to">${label(event.status)}</span>`}</button>
        ${event.attempt > 0 && html`<span class="badge ${event.error ? "bad" : ""}">attempt ${event.attempt}</span>`}
        ${event.object !== null && html`<span class="badge">object</span>`}
        <span class="faint">v${event.version}${since > 1_000 ? ` · after ${span(since)}` : ""}</span>
        ${forkable && html`<button class="btn quiet small fork" onClick=${() => fork(event.version)}
          aria-label=${`Fork from version ${event.version}`}>Fork from here</button>`}
      </div>
      ${details(event).map(([name, value]) => html`<p class="dim">${name} <${Said}>${value}<//></p>`)}
      ${event.error && html`<${Failure} error=${event.error} />`}
    </div></li>`;
}

const SOON = 1_000; // ms

/** Whether what comes next has a time that is worth telling. */
const waits = ({ due_at: due, time, state, type }) =>
  due && state !== "PAUSED" && type !== "paused" && new Date(due) - new Date(time) > SOON;

function details(event) {
  return [
    ["", event.reason], ["by", event.by], ["timer", event.timer], ["callback", event.call], ["hook", event.hook],
    ["next", waits(event) && `at ${instant(event.due_at)}`],
  ].filter(([, value]) => value);
}

/** An error: what it says, and where it comes from for who wants to know. */
export function Failure({ error, open }) {
  const said = html`<strong>${error.type}</strong>${error.message ? html`: <${Said}>${error.message}<//>` : ""}`;
  if (!error.traceback) return html`<p class="failure red">${said}</p>`;
  return html`<details class="failure" open=${open}><summary class="red">${said}</summary>
    <pre tabindex="0" role="group" aria-label="Traceback">${error.traceback}</pre></details>`;
}
