// What can be done to a run, and what is asked before.
import { ask, path, post, Problem } from "./api.js";
import { html, useState } from "./core.js";
import { label } from "./format.js";
import { Dialog, LIVE, say } from "./parts.js";
import { go, to } from "./router.js";

/** What can be done from outside: how it is called, what it means, and in which states. */
export const ACTIONS = {
  resume: { verb: "Resume", states: ["PAUSED"], says: "It goes on where it is. Errors in a row are counted anew." },
  retry: { verb: "Retry now", states: ["RUNNING", "PAUSED"], says: "What waits because of errors is tried at once." },
  pause: { verb: "Pause", states: ["INITIATED", "RUNNING"], says: "No step of it begins until it is resumed. A step that is under way runs again then." },
  cancel: { verb: "Cancel", states: LIVE, danger: true, says: "It ends where it is, for good." },
  "delete-data": {
    verb: "Delete data", states: ["COMPLETED", "CANCELLED", "DATA_DELETED"], danger: true,
    says: "Its object is deleted, in the tables and in its history. This can't be undone.",
  },
};

export const possible = (run) => Object.keys(ACTIONS).filter((action) =>
  ACTIONS[action].states.includes(run.state) && (action !== "retry" || run.error || run.attempt));

/** Ask why, and do it. done: gets the run as it is then.
 *
 * Whoever pauses a run wants it to stop, wherever it has got to; all else is done to what was seen.
 */
export function Steer({ run, action, close, done }) {
  const [reason, setReason] = useState("");
  const { verb, danger, says } = ACTIONS[action];
  const act = async () => {
    try {
      done(await post(path("runs", run.run_id, action), { reason }, action === "pause" ? undefined : run.etag));
    } catch (error) {
      if (error.status !== 412) throw error;
      done(null);
      throw new Problem(412, "It has changed meanwhile", "What is shown now is how it is. Look at it, and try again.");
    }
    say(`${verb}: ${run.foreign_id}`);
  };
  return html`<${Dialog} title=${`${verb}: ${run.foreign_id}`} verb=${verb} danger=${danger} act=${act} close=${close}>
    <p class="dim">${says}</p><${Reason} value=${reason} set=${setReason} /><//>`;
}

export const Reason = ({ value, set }) => html`<label class="field">Reason
  <input type="text" value=${value} maxlength="2000" autofocus onInput=${(event) => set(event.target.value)} />
  <small>It is kept in the history, for whoever asks later.</small></label>`;

/** Start a new run from what a run was at a version. */
export function ForkRun({ run, version, close }) {
  const [foreignId, setForeignId] = useState(run.foreign_id);
  const [reason, setReason] = useState("");
  const act = async () => {
    const { run_id: forked } = await post(path("runs", run.run_id, "fork"), { version, foreign_id: foreignId, reason });
    say(`Forked from version ${version}`);
    go(to(["run", forked]));
  };
  return html`<${Dialog} title=${`Fork ${run.foreign_id} from version ${version}`} verb="Fork" act=${act} close=${close} ready=${foreignId !== ""}>
    <p class="dim">A new run starts with the status and the object that this one had then.
      ${LIVE.includes(run.state) && foreignId === run.foreign_id && " This one is in progress: give the new one another foreign id, or cancel this one first."}</p>
    <label class="field">Foreign id<input type="text" value=${foreignId} onInput=${(event) => setForeignId(event.target.value)} /></label>
    <${Reason} value=${reason} set=${setReason} /><//>`;
}

export function Buttons({ run, act }) {
  return possible(run).map((action, n) => html`<button key=${action}
    class="btn ${ACTIONS[action].danger ? "danger" : n === 0 && run.state === "PAUSED" ? "primary" : ""}"
    onClick=${() => act(action)}>${ACTIONS[action].verb}</button>`);
}

/** JSON in a text field. */
export function parsedOr(text) {
  try {
    return { value: JSON.parse(text), error: null };
  } catch (error) {
    return { value: undefined, error: error.message };
  }
}

export const JsonField = ({ label: name, text, set, error }) => html`<label class="field">${name}
  <textarea spellcheck="false" value=${text} aria-invalid=${error ? "true" : undefined}
    onInput=${(event) => set(event.target.value)} />
  ${error && html`<small class="red" role="status">Not JSON yet: ${error}</small>`}</label>`;

export const loadRun = (id, signal) => ask(path("runs", id), { signal });
export const stateOf = (run) => label(run.state);
