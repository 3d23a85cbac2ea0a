// What the worker that serves the page counts of its steps:
// https://prometheus.io/docs/instrumenting/exposition_formats/
import { text } from "./api.js";

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
  "streamwf_step_errors_total", "streamwf_step_duration_seconds_sum", "streamwf_step_duration_seconds_count",
]);

/** Of each status of a workflow: how many errors its step had, how many runs it took and how long. */
export async function stepsOf(workflow) {
  const steps = new Map();
  for (const { name, labels, value } of read(await text("metrics"), WANTED)) {
    if (labels.workflow !== workflow) continue;
    if (!steps.has(labels.status)) steps.set(labels.status, { errors: 0, seconds: 0, count: 0 });
    const at = steps.get(labels.status);
    if (name.endsWith("_sum")) at.seconds += value;
    else if (name.endsWith("_count")) at.count += value;
    else at.errors += value;
  }
  return steps;
}
