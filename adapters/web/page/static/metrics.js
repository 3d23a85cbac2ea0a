// What the worker that serves the page counts: https://prometheus.io/docs/instrumenting/exposition_formats/
import { text } from "./api.js";

const SAMPLES = 60;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const LINE = /^(\w+)(?:\{(.*)\})? ([^ ]+)/;

/** The samples of metrics that a view wants, as {name, labels, value}. */
function read(exposition, wanted) {
  const found = [];
  for (const line of exposition.split("\n")) {
    const said = LINE.exec(line);
    if (!said || !wanted.has(said[1])) continue;
    const labels = {};
    for (const [, name, value] of (said[2] ?? "").matchAll(LABEL)) {
      labels[name] = value.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
    }
    found.push({ name: said[1], labels, value: Number(said[3]) });
  }
  return found;
}

const WANTED = new Set([
  "streamwf_events_total", "streamwf_step_errors_total", "streamwf_lag_seconds",
  "streamwf_step_duration_seconds_sum", "streamwf_step_duration_seconds_count",
  "streamwf_queue_depth", "streamwf_timers_overdue",
]);

const history = []; // {at, totals}: kept while the page is open, whatever view is shown

/** What is counted now, and how it went since the page was opened. */
export async function sampled() {
  const at = performance.now();
  const totals = new Map();
  for (const { name, labels, value } of read(await text("metrics"), WANTED)) {
    if (name === "streamwf_events_total" && labels.verdict !== "accepted") continue;
    const of = keyed(totals, labels.workflow);
    if (name === "streamwf_lag_seconds") of.lag = Math.max(of.lag, value);
    else if (name === "streamwf_events_total") of.events += value;
    else if (name === "streamwf_timers_overdue") of.overdue += value;
    else step(of, name, labels, value);
  }
  if (!history.length || at - history.at(-1).at > 900) history.push({ at, totals });
  if (history.length > SAMPLES + 1) history.shift();
  return { now: totals, history: [...history] };
}

function keyed(totals, workflow) {
  if (!totals.has(workflow)) {
    totals.set(workflow, { events: 0, errors: 0, lag: 0, overdue: 0, steps: new Map() });
  }
  return totals.get(workflow);
}

function step(of, name, { status }, value) {
  if (!of.steps.has(status)) of.steps.set(status, { errors: 0, seconds: 0, count: 0, queued: 0 });
  const at = of.steps.get(status);
  if (name.endsWith("_sum")) at.seconds += value;
  else if (name.endsWith("_count")) at.count += value;
  else if (name === "streamwf_queue_depth") at.queued += value;
  else {
    at.errors += value;
    of.errors += value;
  }
}

/** How many a second there were between each two samples. workflow: null for all. */
export function rates(samples, what, workflow = null) {
  const of = ({ totals }) => [...totals]
    .filter(([name]) => workflow === null || name === workflow)
    .reduce((total, [, counted]) => total + counted[what], 0);
  return samples.slice(1).map((sample, n) => {
    const seconds = (sample.at - samples[n].at) / 1_000;
    // A worker that was started anew counts from nothing.
    return Math.max(of(sample) - of(samples[n]), 0) / seconds;
  });
}
