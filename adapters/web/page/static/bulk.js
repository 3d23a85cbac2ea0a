// The same done to many runs: those that are selected, or all that fit.
import { ask, keyOf, path, post, Problem } from "./api.js";
import { announce, html, useEffect, useRef, useState } from "./core.js";
import { asBody } from "./filters.js";
import { number, plural } from "./format.js";
import { Dialog, Said } from "./parts.js";
import { ACTIONS, Reason } from "./steering.js";

const AT_ONCE = 6; // requests
const PART = 200; // runs that one request steers

export function Bulk({ chosen, filter, rows, total, choose, done }) {
  const [action, setAction] = useState(null);
  const count = chosen.all ? total : chosen.ids.size;
  if (!count && !action) return null;
  const loaded = rows.length > 0 && rows.every((run) => chosen.ids.has(run.run_id));
  return html`<section class="bulk" aria-label="Selection">
    <strong role="status">${chosen.all ? `All ${plural(count, "run")} that fit` : `${plural(count, "run")} selected`}</strong>
    ${!chosen.all && loaded && total > count && html`<button class="btn small" onClick=${() => choose(new Set(), true)}>
      Select all ${number(total)} that fit</button>`}
    <span class="end">${Object.entries(ACTIONS).map(([name, { verb, danger }]) => html`<button key=${name}
      class="btn small ${danger ? "danger" : ""}" onClick=${() => setAction(name)}>${verb}</button>`)}
      <button class="btn small quiet" onClick=${() => choose(new Set())}>Clear</button></span>
    ${action && html`<${Confirm} action=${action} chosen=${chosen} filter=${filter} rows=${rows} total=${total}
      close=${() => setAction(null)} done=${() => (choose(new Set()), done())} />`}
  </section>`;
}

function Confirm({ action, chosen, filter, rows, total, close, done }) {
  const { verb, danger, says } = ACTIONS[action];
  const [reason, setReason] = useState("");
  const [count, setCount] = useState(chosen.all ? null : chosen.ids.size);
  const [progress, setProgress] = useState(null);
  const stop = useRef(false);
  useEffect(() => {
    // Counted anew, for it is what is confirmed.
    if (chosen.all) ask(path("runs", "count"), { query: filter.toString() }).then((told) => setCount(told.count), () => setCount(total));
    return () => (stop.current = true);
  }, []);
  const act = async () => {
    if (progress?.ended) return undefined;
    const steps = chosen.all ? allThatFit(action, filter, reason) : selected(action, rows.filter((run) => chosen.ids.has(run.run_id)), reason);
    let told = { looked: 0, changed: 0, refused: [] };
    for await (const { matched, changed, refused } of steps) {
      told = { looked: told.looked + matched, changed: told.changed + changed, refused: [...told.refused, ...refused] };
      setProgress(told);
      if (stop.current) break;
    }
    setProgress({ ...told, ended: true });
    announce(`${told.changed} changed, ${told.refused.length} refused`);
    return false;
  };
  const ended = progress?.ended;
  return html`<${Dialog} title=${count === null ? `${verb} …` : `${verb}: ${plural(count, "run")}?`} verb=${ended ? null : `${verb} ${count === null ? "" : number(count)}`}
      danger=${danger} act=${act} ready=${count !== null} close=${() => (stop.current = true, close(), progress && done())}>
    <p class="dim">${says} Those whose state forbids it stay as they are.</p>
    ${!progress && html`<${Reason} value=${reason} set=${setReason} />`}
    ${progress && html`<div role="status"><progress max=${count || 1} value=${ended ? count || 1 : progress.looked} aria-label="Progress"></progress>
      <p>${number(progress.changed)} changed, ${number(progress.refused.length)} refused${ended ? "." : "…"}</p></div>`}
    ${progress && !ended && html`<button type="button" class="btn" onClick=${() => (stop.current = true)}>Stop here</button>`}
    ${progress?.refused.length > 0 && html`<ul class="refused" tabindex="0" aria-label="Refused">${progress.refused.slice(0, 100).map((run) => html`
      <li><strong><${Said}>${run.foreign_id}<//></strong> <${Said}>${run.why}<//></li>`)}</ul>`}<//>`;
}

async function* allThatFit(action, filter, reason) {
  const key = keyOf();
  let cursor = null;
  do {
    const told = await post(path("runs", "bulk"), { action, query: asBody(filter), reason, key, limit: PART, ...(cursor ? { cursor } : {}) });
    yield told;
    ({ cursor } = told);
  } while (cursor);
}

async function* selected(action, runs, reason) {
  const key = keyOf();
  for (let at = 0; at < runs.length; at += AT_ONCE) {
    const part = runs.slice(at, at + AT_ONCE);
    const refused = (await Promise.all(part.map((run) => steered(action, run, reason, key)))).filter(Boolean);
    yield { matched: part.length, changed: part.length - refused.length, refused };
  }
}

/** Why a run has refused; null if it hasn't. */
async function steered(action, run, reason, key) {
  try {
    await post(path("runs", run.run_id, action), { reason, key });
    return null;
  } catch (error) {
    if (!(error instanceof Problem) || ![404, 409, 410, 412].includes(error.status)) throw error;
    return { ...run, why: error.message };
  }
}
