// Server-sent events by fetch: an EventSource can't send a token.
import { headers, link, session, urlOf } from "./api.js";

const AGAIN = 2_000; // ms

let served = true; // until a worker says that it has no events

/** Hear of what changes until the function that is returned is called.
 *
 * on.event: gets what an event says. on.open, on.close: whether events come from now on.
 */
export function hear(query, on) {
  const stop = new AbortController();
  run(query, on, stop.signal);
  return () => stop.abort();
}

link.follow(() => (served = true)); // another version may have come back

async function run(query, on, signal) {
  let last = "";
  while (!signal.aborted && served) {
    try {
      const url = urlOf("api/v1/events");
      url.search = query;
      const response = await fetch(url, {
        headers: headers({ Accept: "text/event-stream", ...(last ? { "Last-Event-ID": last } : {}) }),
        signal, cache: "no-store",
      });
      if ([404, 405, 422, 501].includes(response.status)) served = false;
      if (response.ok && /event-stream/.test(response.headers.get("Content-Type") ?? "")) {
        on.open?.();
        for await (const { id, data } of parsed(response.body)) {
          last = id || last;
          tell(on, data);
        }
      }
    } catch {
      // The views that ask say what is wrong.
    }
    on.close?.();
    if (served && !signal.aborted) await later(signal);
  }
}

function tell(on, data) {
  try {
    on.event(JSON.parse(data));
  } catch {
    on.event({});
  }
}

const later = (signal) => new Promise((go) => {
  const timer = setTimeout(go, session.get().wanted ? AGAIN * 5 : AGAIN);
  signal.addEventListener("abort", () => (clearTimeout(timer), go()), { once: true });
});

/** The events of a stream: https://html.spec.whatwg.org/multipage/server-sent-events.html */
async function* parsed(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", id = "", data = [];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      const [, field, said] = /^([^:]*):? ?(.*)$/s.exec(line);
      if (line === "") {
        if (data.length) yield { id, data: data.join("\n") };
        data = [];
      } else if (field === "data") data.push(said);
      else if (field === "id") id = said;
    }
  }
}
