// What a view shows, and keeps up to date.
import { link, session } from "./api.js";
import { useCallback, useEffect, useRef, useState, useStore } from "./core.js";
import { hear } from "./events.js";

const SOON = 150; // ms from an event until what it changed is asked for
const PAUSE = 1_000; // ms between two that are asked for by events
const RARELY = 15_000; // ms, while events tell of changes

/** Load something, now and whenever it may have changed.
 *
 * key: of what is loaded; another one begins anew. every: ms between two looks while no events
 * tell of changes. events: the query by which to hear of them, if there are any.
 */
export function useLive(key, load, { every = 2_000, events = null } = {}) {
  const [found, setFound] = useState({ key: null, data: null, error: null });
  const { healed } = useStore(link);
  const { wanted } = useStore(session);
  const kept = useRef({});
  kept.current.load = load;

  useEffect(() => {
    if (wanted) return undefined;
    const life = loop(key, kept.current, every, events, setFound);
    kept.current.refresh = life.now;
    return life.stop;
  }, [key, every, events, healed, wanted]);

  const refresh = useCallback(() => kept.current.refresh?.(), []);
  const change = useCallback(
    (changed) => setFound((was) => (was.data ? { ...was, data: changed(was.data) } : was)), [],
  );
  const fits = found.key === key;
  return {
    data: fits ? found.data : null, error: fits ? found.error : null,
    loading: !fits, refresh, change,
  };
}

function loop(key, kept, every, events, setFound) {
  const stop = new AbortController();
  let timer, hearing = false, busy = false, again = false, refused = false, asked = -PAUSE;

  async function now() {
    if (stop.signal.aborted) return;
    clearTimeout(timer);
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    asked = performance.now();
    try {
      const data = await kept.load(stop.signal);
      refused = false;
      if (!stop.signal.aborted) setFound({ key, data, error: null });
    } catch (error) {
      if (stop.signal.aborted) return;
      refused = [403, 404].includes(error.status);
      // What was there stays, for it is better than nothing; the error says how old it may be.
      setFound((was) => ({ key, data: was.key === key ? was.data : null, error }));
    } finally {
      busy = false;
    }
    if (again) {
      again = false;
      plan(SOON);
    } else plan(hearing || refused ? Math.max(RARELY, every) : every);
  }

  function plan(delay) {
    clearTimeout(timer);
    if (!stop.signal.aborted && !document.hidden && link.get().up) timer = setTimeout(now, delay);
  }

  let due = false, deaf = () => {};
  function listen() {
    deaf();
    hearing = false;
    // A browser has few connections to a worker, for all of its windows: who sees nothing needs none.
    if (events === null || document.hidden) return;
    deaf = hear(events, {
      open: () => (hearing = true, now()),
      close: () => (hearing && (hearing = false, plan(every))),
      event() {
        if (due) return;
        due = true;
        setTimeout(() => (due = false, now()), Math.max(SOON, asked + PAUSE - performance.now()));
      },
    });
  }
  const seen = () => (listen(), document.hidden || now());
  document.addEventListener("visibilitychange", seen);
  listen();
  now();
  return {
    now,
    stop() {
      stop.abort();
      clearTimeout(timer);
      deaf();
      document.removeEventListener("visibilitychange", seen);
    },
  };
}
