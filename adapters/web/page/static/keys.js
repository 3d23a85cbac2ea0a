// What the keyboard does, and the dialog that tells it.
import { html, useLayoutEffect, useRef } from "./core.js";
import { Dialog } from "./parts.js";
import { go } from "./router.js";

const PLACES = { o: "#/", r: "#/runs", d: "#/letters", s: "#/schedules" };
const WITHIN = 1_500; // ms between the two keys of a pair, as they were pressed

const typing = (event) => event.target.closest?.("input, select, textarea, dialog") !== null
  && event.target.closest !== undefined;

/** Keys that work everywhere. */
export function useKeys(act) {
  const kept = useRef(act);
  kept.current = act;
  // In the same turn as the first drawing: an effect comes after it, and a key pressed between was lost.
  useLayoutEffect(() => {
    let pressed = -WITHIN;
    const down = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || typing(event)) return;
      const { key } = event;
      if (event.timeStamp - pressed < WITHIN && PLACES[key]) go(PLACES[key]);
      else if (key === "?") kept.current.help();
      else if (key === "t") kept.current.turn();
      else if (key === "/") focusFilter();
      else if (key !== "g") return;
      pressed = key === "g" ? event.timeStamp : -WITHIN;
      event.preventDefault();
    };
    addEventListener("keydown", down);
    return () => removeEventListener("keydown", down);
  }, []);
}

function focusFilter() {
  const filter = document.querySelector("[data-filter]");
  if (filter) filter.focus();
  else go("#/runs");
}

/** Keys for the rows of a table: each row's link has the attribute `data-row`. */
export function rowKeys(event, { select } = {}) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
  const rows = [...event.currentTarget.querySelectorAll("[data-row]")];
  const at = rows.indexOf(document.activeElement);
  if (step) {
    rows[Math.min(Math.max(at + step, 0), rows.length - 1)]?.focus();
    event.preventDefault();
  } else if (event.key === "x" && at >= 0 && select) {
    select(rows[at].dataset.row);
    event.preventDefault();
  }
}

const KEYS = [
  ["g o", "Overview"], ["g r", "Runs"], ["g d", "Dead letters"], ["g s", "Schedules"],
  ["/", "Find runs by foreign id"], ["j k ↓ ↑", "Next or previous row, in a list"],
  ["x", "Select the row"], ["Enter", "Open the row"], ["t", "Light or dark"], ["?", "These keys"],
];

export const Help = ({ close }) => html`<${Dialog} title="Keys" close=${close}>
  <table class="grid"><tbody>${KEYS.map(([keys, does]) => html`<tr>
    <td>${keys.split(" ").map((key) => html`<kbd>${key}</kbd> `)}</td><td>${does}</td></tr>`)}</tbody></table><//>`;
