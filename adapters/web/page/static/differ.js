// What has changed between two objects, line by line.

const MOST = 1_500; // lines in the middle that are compared one with another

/** The lines of both texts in order, each with its sign: " ", "-" or "+". */
export function differ(before, after) {
  const a = before.split("\n"), b = after.split("\n");
  let start = 0, end = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  while (end < a.length - start && end < b.length - start && a.at(-1 - end) === b.at(-1 - end)) end += 1;
  const tail = a.slice(a.length - end);
  const middle = between(a.slice(start, a.length - end), b.slice(start, b.length - end));
  const same = (line) => [" ", line];
  return [...a.slice(0, start).map(same), ...middle, ...tail.map(same)];
}

function between(a, b) {
  const removed = (line) => ["-", line], added = (line) => ["+", line];
  if (a.length > MOST || b.length > MOST) return [...a.map(removed), ...b.map(added)];
  const longest = common(a, b), lines = [];
  let i = 0, j = 0;
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) lines.push([" ", a[i++], j++]);
    else if (longest[i + 1][j] >= longest[i][j + 1]) lines.push(removed(a[i++]));
    else lines.push(added(b[j++]));
  }
  return [...lines, ...a.slice(i).map(removed), ...b.slice(j).map(added)];
}

/** Of each pair of rests of two lists, how much of it they share at most. */
function common(a, b) {
  const longest = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      longest[i][j] = a[i] === b[j]
        ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
    }
  }
  return longest;
}

/** Lines with long stretches that are the same left out. around: lines that stay beside a change. */
export function folded(lines, around = 3) {
  const near = new Set();
  lines.forEach(([sign], n) => {
    if (sign !== " ") for (let at = n - around; at <= n + around; at += 1) near.add(at);
  });
  const shown = [];
  lines.forEach((line, n) => {
    if (near.has(n) || !near.size) shown.push(line);
    else if (shown.at(-1)?.[0] !== "…") shown.push(["…", ""]);
  });
  return shown;
}
