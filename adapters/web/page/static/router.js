// The address: which view, and what of it, so that it can be sent to a colleague.
import { store } from "./core.js";

function read() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  const parts = path.split("/").filter(Boolean).map(decoded);
  return { parts, query: new URLSearchParams(query), hash: location.hash };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const route = store(read());
addEventListener("hashchange", () => {
  const next = read();
  arriving ||= next.parts.join("/") !== route.get().parts.join("/");
  route.set(next);
});

let arriving = false;

/** Whether another view was gone to, whose heading is to have the focus; once. */
export function arrived() {
  const first = arriving;
  arriving = false;
  return first;
}

/** The address of a view. query: names and values, or lists of values; empty ones are left out. */
export function to(parts, query = {}) {
  const said = query instanceof URLSearchParams ? query : parameters(query);
  const text = said.toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

export function parameters(query) {
  const said = new URLSearchParams();
  for (const [name, values] of Object.entries(query)) {
    for (const value of [values].flat()) {
      if (value !== "" && value !== null && value !== undefined) said.append(name, value);
    }
  }
  return said;
}

export function go(address, { replace = false } = {}) {
  if (address === location.hash) return;
  if (replace) {
    history.replaceState(null, "", address);
    route.set(read());
  } else location.hash = address;
}
