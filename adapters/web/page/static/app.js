// The frame: where one is, where one can go, and whether the worker answers.
import { ask, link, path, session, signedIn, signIn, signOut } from "./api.js";
import {
  announced, clock, html, render, store, useEffect, useErrorBoundary, useState, useStore,
} from "./core.js";
import { relative, short, sum } from "./format.js";
import { Help, useKeys } from "./keys.js";
import { useLive } from "./live.js";
import { Empty, LIVE, Said, Toast } from "./parts.js";
import { route, to } from "./router.js";

const THEME = "streamwf.theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const theme = store(localStorage.getItem(THEME) ?? (system.matches ? "dark" : "light"));
theme.follow((name) => (document.documentElement.dataset.theme = name));
document.documentElement.dataset.theme = theme.get();
system.addEventListener("change", () => {
  if (!localStorage.getItem(THEME)) theme.set(system.matches ? "dark" : "light");
});

function turn() {
  const next = theme.get() === "dark" ? "light" : "dark";
  localStorage.setItem(THEME, next);
  theme.set(next);
}

const ICONS = {
  overview: "M2 2h5v5H2zM9 2h5v5H9zM2 9h5v5H2zM9 9h5v5H9z",
  runs: "M2 4h12M2 8h12M2 12h12",
  letters: "M2 4h12v9H2zM2 4l6 5 6-5",
  schedules: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2M8 5v3l2 2",
  flow: "M2 4h4v3H2zM10 9h4v3h-4zM6 5.5h3v5h1",
};

const Icon = ({ name }) => html`<svg width="15" height="15" viewBox="0 0 16 16" fill="none"
  stroke="currentColor" stroke-width="1.4" stroke-linejoin="round" stroke-linecap="round"
  aria-hidden="true"><path d=${ICONS[name]} /></svg>`;

function Side({ workflows, parts }) {
  const here = (name) => (parts[0] ?? "overview") === name ? "page" : undefined;
  const item = (name, href, text, on = here(name)) => html`
    <a href=${href} aria-current=${on}><${Icon} name=${name} />${text}</a>`;
  return html`<div class="side">
    <a class="brand plain" href="#/" aria-label="streamwf, overview"><img src="page/icon.svg" alt="" /><span>streamwf</span></a>
    <nav class="nav" aria-label="Views">
      ${item("overview", "#/", "Overview")}
      ${item("runs", "#/runs", "Runs", parts[0] === "runs" || parts[0] === "run" ? "page" : undefined)}
      ${item("letters", "#/letters", "Dead letters")}
      ${item("schedules", "#/schedules", "Schedules")}
    </nav>
    <nav class="nav flows" aria-label="Workflows">
      <h2>Workflows</h2>
      ${workflows.map((flow) => html`<${Flow} flow=${flow} on=${parts[0] === "workflow" && parts[1] === flow.name} />`)}
    </nav>
    <div class="foot">
      <button class="btn quiet small" onClick=${turn}>${useStore(theme) === "dark" ? "Light" : "Dark"}</button>
      ${signedIn() && html`<button class="btn quiet small" onClick=${signOut}>Sign out</button>`}
    </div>
  </div>`;
}

function Flow({ flow, on }) {
  const live = sum(flow.counts, LIVE), paused = sum(flow.counts, ["PAUSED"]);
  return html`<a href=${to(["workflow", flow.name])} aria-current=${on ? "page" : undefined}>
    <${Icon} name="flow" /><span class="clip"><${Said}>${flow.name}<//></span>
    <span class="count ${paused ? "warn" : ""}" title=${paused ? `${paused} paused` : undefined}>
      ${short(live)}<span class="spoken"> live, ${paused} paused</span></span></a>`;
}

function Lost() {
  const { up, since } = useStore(link), now = useStore(clock);
  return !up && html`<div class="notice bad" role="alert">
    The worker does not answer. What is shown is from ${relative(since, now)}; the page goes on when it is back.</div>`;
}

function SignIn({ why }) {
  const [token, setToken] = useState("");
  useEffect(() => (document.title = "Sign in · streamwf"), []);
  const submit = (event) => (event.preventDefault(), token.trim() && signIn(token));
  return html`<main class="signin"><section class="panel" aria-labelledby="title"><form onSubmit=${submit}>
    <h1 id="title">Sign in</h1>
    <label class="field">Token<input type="password" autocomplete="current-password" autofocus
      value=${token} onInput=${(event) => setToken(event.target.value)} />
      <small>It is kept until this tab is closed.</small></label>
    ${why && html`<div class="problem" role="alert">${why}</div>`}
    <button class="btn primary">Sign in</button>
  </form></section></main>`;
}

/** A view. Each may be somebody else's: one that can't be loaded says so, and the others are there. */
async function view(name) {
  const file = `./${name}.js`, exported = name[0].toUpperCase() + name.slice(1);
  try {
    const { [exported]: Shown } = await import(file);
    if (!Shown) throw new Error(`${file} exports no ${exported}.`);
    return Shown;
  } catch (error) {
    return () => {
      throw error;
    };
  }
}

const NAMES = ["overview", "runs", "run", "workflow", "letters", "schedules"];
const loaded = await Promise.all(NAMES.map(view));
const VIEWS = Object.fromEntries(NAMES.map((name, n) => [name, loaded[n]]));

function View({ at, workflows }) {
  const Shown = VIEWS[at.parts[0] ?? "overview"];
  if (!Shown) return html`<${Empty} title="Nothing is here"><a href="#/">Go to the overview</a><//>`;
  return html`<${Guarded} key=${at.parts.join("/")}><${Shown} at=${at} workflows=${workflows} /><//>`;
}

/** A view, or why it can't be shown. */
function Guarded({ children }) {
  const [error] = useErrorBoundary((raised) => console.error(raised));
  if (error) return html`<${Empty} title="This view can't be shown">${String(error.message ?? error)}<//>`;
  return children;
}

function App() {
  const at = useStore(route), { wanted, why } = useStore(session);
  const [help, setHelp] = useState(false);
  const known = useLive("workflows", (signal) => ask(path("workflows"), { signal }), { every: 5_000 });
  useKeys({ help: () => setHelp(true), turn });
  if (wanted) return html`<${SignIn} why=${why} />`;
  return html`<div class="frame">
    <a class="skip" href="#title" onClick=${(event) => (event.preventDefault(), document.getElementById("title")?.focus())}>Skip to content</a>
    <${Side} workflows=${known.data?.workflows ?? []} parts=${at.parts} />
    <main class="main"><${Lost} />
      <div class="view"><${View} at=${at} workflows=${known} /></div></main>
    <${Toast} />
    ${help && html`<${Help} close=${() => setHelp(false)} />`}
  </div><div class="spoken" aria-live="polite"><${Announced} /></div>`;
}

const Announced = () => html`${useStore(announced)}`;

render(html`<${App} />`, document.getElementById("app"));
