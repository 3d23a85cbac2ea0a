// Dead letters: what nobody could use, and why; to be tried again or dropped.
import { ask, gone, path, post } from "./api.js";
import { html, useState } from "./core.js";
import { plural } from "./format.js";
import { useLive } from "./live.js";
import { Ago, Copy, Dialog, Empty, Failed, Head, Said, say } from "./parts.js";
import { go, to } from "./router.js";
import { Reason } from "./steering.js";

const PAGE = 100;

export function Letters({ at, workflows }) {
  const name = at.query.get("workflow") ?? "";
  const query = (cursor) => new URLSearchParams({
    ...(name ? { workflow: name } : {}), limit: PAGE, ...(cursor ? { cursor } : {}),
  }).toString();
  const [more, setMore] = useState({ of: "", letters: [], cursor: undefined });
  const [error, setError] = useState(null);
  const [asked, setAsked] = useState(null);
  const found = useLive(`letters ${name}`, (signal) => ask(path("dead-letters"), { signal, query: query() }), { every: 5_000 });
  const later = more.of === name ? more : { of: name, letters: [], cursor: undefined };
  const first = found.data?.letters ?? [], shown = new Set(first.map((letter) => letter.id));
  const letters = [...first, ...later.letters.filter((letter) => !shown.has(letter.id))];
  const next = later.cursor === undefined ? found.data?.cursor : later.cursor;
  const load = async () => {
    try {
      const page = await ask(path("dead-letters"), { query: query(next) });
      setMore({ of: name, letters: [...later.letters, ...page.letters], cursor: page.cursor ?? null });
    } catch (raised) {
      setError(raised);
    }
  };
  const done = (letter) => {
    setMore({ ...later, letters: later.letters.filter((other) => other.id !== letter.id) });
    found.refresh();
  };
  return html`<${Head} title="Dead letters" badge=${found.data && html`<span class="dim">${plural(found.data.count, "letter")}</span>`}>
      <select aria-label="Workflow" value=${name} onChange=${(event) => go(to(["letters"], { workflow: event.target.value }))}>
        <option value="">All workflows</option>${(workflows.data?.workflows ?? []).map((flow) => html`<option key=${flow.name} value=${flow.name}>${flow.name}</option>`)}</select><//>
    <${Failed} error=${error} />
    ${found.error && (gone(found.error) ? html`<${Empty} title="This worker does not tell its dead letters">
        The topic or table of dead letters has them.<//>` : html`<${Failed} error=${found.error} />`)}
    ${found.loading && html`<p class="loading" role="status">Loading…</p>`}
    ${found.data && !letters.length && html`<${Empty} title="No dead letters">Everything that came could be used.<//>`}
    ${letters.length > 0 && html`<ul class="letters panel">${letters.map((letter) => html`<${Letter} key=${letter.id} letter=${letter} act=${(verb) => setAsked({ letter, verb })} />`)}</ul>`}
    ${next && html`<button class="btn" onClick=${load}>Load more</button>`}
    ${asked && html`<${Ask} ...${asked} close=${() => setAsked(null)} done=${done} />`}`;
}

function Letter({ letter, act }) {
  const place = [letter.source, letter.partition, letter.position].filter((part) => part !== null && part !== undefined && part !== "").join(" · ");
  const [whole, setWhole] = useState(null);
  const [content, how] = contentOf(whole ?? letter);
  // The list has the beginning of it alone.
  const open = (event) => event.target.open && !whole
    && ask(path("dead-letters", letter.id)).then(setWhole, (error) => say(error.message));
  return html`<li>
    <div class="row"><strong class="why"><${Said}>${letter.reason}<//></strong>
      <span class="end"><button class="btn small" onClick=${() => act("retry")}>Retry</button>
        <button class="btn small danger" onClick=${() => act("drop")}>Drop</button></span></div>
    <div class="row dim"><span class="badge"><${Said}>${letter.workflow}<//></span>
      <${Said} mono>${place}<//>${letter.key && html`<span>key <${Said} mono>${letter.key}<//></span>`}<${Ago} at=${letter.at} /></div>
    ${letter.withheld ? html`<p class="dim">What came is shown to an admin of the workflow.</p>`
      : html`<details onToggle=${open}><summary>${how}</summary><pre tabindex="0" role="group" aria-label="Content">${content}</pre>
      <${Copy} text=${content} what="Content" /></details>`}</li>`;
}

/** What came, as it can be read best, and what to call it. */
function contentOf({ text, base64 }) {
  if (text === null || text === undefined) return [base64 ?? "", "Content, as base64"];
  try {
    return [JSON.stringify(JSON.parse(text), null, 2), "Content"];
  } catch {
    return [text, "Content"];
  }
}

function Ask({ letter, verb, close, done }) {
  const [reason, setReason] = useState("");
  const drop = verb === "drop";
  const act = async () => {
    await post(path("dead-letters", letter.id, verb), { reason });
    say(drop ? "Dropped" : "On its way again");
    done(letter);
  };
  return html`<${Dialog} title=${drop ? "Drop this letter?" : "Try this letter again?"} verb=${drop ? "Drop" : "Retry"} danger=${drop} act=${act} close=${close}>
    <p class="dim">${drop ? "It is not shown any more, and nobody tries it again." : "It is given once more to who could not use it. If that still can't, it comes back."}</p>
    <${Reason} value=${reason} set=${setReason} /><//>`;
}
