// How things are written for people.
const NUMBER = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const INSTANT = new Intl.DateTimeFormat("en-GB", {
  year: "numeric", month: "short", day: "2-digit",
  hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short",
});
const TIME = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit", minute: "2-digit", second: "2-digit",
});
const DAY = new Intl.DateTimeFormat("en-GB", { day: "2-digit", month: "short" });
const SLOT = new Intl.DateTimeFormat("en-GB", {
  weekday: "short", day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit",
});

export const number = (n) => NUMBER.format(n);
export const short = (n) => (n < 10_000 ? NUMBER.format(n) : SHORT.format(n));
export const instant = (at) => INSTANT.format(new Date(at));
export const slot = (at) => SLOT.format(new Date(at));

export function rate(n) {
  return n === 0 ? "0" : n < 10 ? n.toFixed(n < 1 ? 2 : 1) : short(Math.round(n));
}

export function timeOf(at) {
  const then = new Date(at);
  const today = new Date().toDateString() === then.toDateString();
  const ms = String(then.getMilliseconds()).padStart(3, "0");
  return `${today ? "" : `${DAY.format(then)} `}${TIME.format(then)}.${ms}`;
}

const UNITS = [["d", 86_400_000], ["h", 3_600_000], ["min", 60_000], ["s", 1_000]];

/** A time span, to two units at most: 3 min 20 s. ms: milliseconds, positive. */
export function span(ms) {
  if (ms < 1) return "0 ms";
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1_000).toFixed(1)} s`;
  const at = UNITS.findIndex(([, size]) => ms >= size);
  const [unit, size] = UNITS[at];
  const whole = Math.floor(ms / size);
  if (at === UNITS.length - 1 || whole >= 10) return `${whole} ${unit}`;
  const [lower, smaller] = UNITS[at + 1];
  const rest = Math.floor((ms - whole * size) / smaller);
  return rest ? `${whole} ${unit} ${rest} ${lower}` : `${whole} ${unit}`;
}

/** How long ago, or in how long. */
export function relative(at, now) {
  const ms = now - new Date(at).getTime();
  if (Math.abs(ms) < 1_000) return "now";
  const told = span(Math.floor(Math.abs(ms) / 1_000) * 1_000).replace(".0 s", " s");
  return ms > 0 ? `${told} ago` : `in ${told}`;
}

/** A status as people read it: AWAITING_EMAIL becomes Awaiting email. */
export function label(status) {
  const text = status.replaceAll("_", " ").trim().toLowerCase();
  return text ? text[0].toUpperCase() + text.slice(1) : status;
}

export const plural = (n, one, many = `${one}s`) => `${number(n)} ${n === 1 ? one : many}`;

/** A value of an object in one line. */
export function inline(value) {
  if (value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** What a dotted path leads to in an object; of a list, each element's, as searches see it. */
export function field(object, path) {
  return path.split(".").reduce((value, name) => {
    if (Array.isArray(value)) return value.map((item) => item?.[name]);
    return value !== null && typeof value === "object" && Object.hasOwn(value, name)
      ? value[name] : undefined;
  }, object);
}

/** How many runs of a workflow are in one of these states. counts: by status and state. */
export const sum = (counts, states) => Object.values(counts)
  .flatMap((of) => Object.entries(of))
  .reduce((total, [state, count]) => (states.includes(state) ? total + count : total), 0);
