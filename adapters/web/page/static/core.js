// What every part of the page is made with.
import { h } from "./vendor/preact.js";
import { useEffect, useState } from "./vendor/hooks.js";
import htm from "./vendor/htm.js";

export { Fragment, render } from "./vendor/preact.js";
export {
  useCallback, useEffect, useErrorBoundary, useId, useLayoutEffect, useMemo, useRef, useState,
} from "./vendor/hooks.js";

export const html = htm.bind(h);

/** A value that parts of the page share, and that they follow by `useStore`. */
export function store(value) {
  const followers = new Set();
  return {
    get: () => value,
    set(next) {
      if (Object.is(next, value)) return;
      value = next;
      for (const follow of [...followers]) follow(value);
    },
    follow(follower) {
      followers.add(follower);
      return () => followers.delete(follower);
    },
  };
}

export function useStore(followed) {
  const [, draw] = useState(0);
  useEffect(() => {
    const drawn = followed.get();
    const stop = followed.follow(() => draw((n) => n + 1));
    // It may have changed between being drawn and being followed.
    if (!Object.is(drawn, followed.get())) draw((n) => n + 1);
    return stop;
  }, [followed]);
  return followed.get();
}

/** The time of this machine in milliseconds, a second at a time. */
export const clock = store(Date.now());
setInterval(() => {
  if (!document.hidden) clock.set(Date.now());
}, 1000);

/** What a screen reader is told beside what has the focus. */
export const announced = store("");
export const announce = (text) => announced.set(text);
