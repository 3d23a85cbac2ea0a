// Server-sent events by fetch: an EventSource can't send a token.
import { headers, link, session, urlOf } from "./api.js";

const AGAIN = 2_000; // ms

let served = true; // until a worker says that it has no events

/** Hear that something has changed until the function that is returned is called.
 *
 * What has is asked for: an event is news, and no view is made of it. on.event: called at each.
 * on.open: events come from now on; what went before nobody has told. on.close: they don't.
 */
export function hear(query, on) {
  const stop = new AbortController();
  run(query, on, stop.signal);
  return () => stop.abort();
}

link.follow(() => (served = true)); // another version may have come back

async function run(query, on, signal) {
  while (!signal.aborted && served) {
    try {
      const url = urlOf("api/v1/events");
      url.search = query;
      const response = await fetch(url, {
        headers: headers({ Accept: "text/event-stream" }), signal, cache: "no-store",
      });
      if ([404, 405, 422, 501].includes(response.status)) served = false;
      if (response.ok && /event-stream/.test(response.headers.get("Content-Type") ?? "")) {
        on.open();
        await read(response.body, on.event);
      }
    } catch {
      // The views that ask say what is wrong.
    }
    if (signal.aborted) return;
    on.close();
    if (served) await later(signal);
  }
}

const later = (signal) => new Promise((go) => {
  const timer = setTimeout(go, session.get().wanted ? AGAIN * 5 : AGAIN);
  signal.addEventListener("abort", () => (clearTimeout(timer), go()), { once: true });
});

/** Call `event` at the end of each that has data: https://html.spec.whatwg.org/multipage/server-sent-events.html */
async function read(body, event) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", data = false;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "" && data) event();
      data = line !== "" && (data || line.startsWith("data"));
    }
  }
}
