// The statuses of a workflow and the moves between them, drawn in layers.
import { html, useMemo } from "./core.js";
import { label, plural, short, span } from "./format.js";
import { STATES } from "./parts.js";
import { to } from "./router.js";
import { Graph, layout } from "./vendor/dagre.js";

const WIDTH = 158, HEIGHT = 58, MARGIN = 14;
const SMALLEST = 0.72; // how far it is drawn smaller before it is scrolled
const LETTER = 7.2; // px, of a label, at most

function placed(flow, across) {
  const graph = new Graph();
  graph.setGraph({ rankdir: across ? "LR" : "TB", nodesep: 26, ranksep: across ? 46 : 36, marginx: MARGIN, marginy: MARGIN });
  graph.setDefaultEdgeLabel(() => ({}));
  const width = Math.max(WIDTH, ...flow.statuses.map((status) => Math.min(label(status).length * LETTER + 28, 300)));
  const index = new Map(flow.statuses.map((status, n) => [status, `s${n}`]));
  const names = new Map([...index].map(([status, id]) => [id, status]));
  for (const id of index.values()) graph.setNode(id, { width, height: HEIGHT });
  for (const [from, many] of Object.entries(flow.moves)) {
    for (const status of many) {
      if (index.has(from) && index.has(status)) graph.setEdge(index.get(from), index.get(status));
    }
  }
  layout(graph);
  const { width: w, height: h } = graph.graph();
  return {
    width: Math.ceil(w), height: Math.ceil(h),
    nodes: graph.nodes().map((id) => ({ status: names.get(id), ...graph.node(id) })),
    edges: graph.edges().map((edge) => ({ ...edge, points: graph.edge(edge).points })),
  };
}

/** A smooth line through points. */
function curve(points) {
  const at = ({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`;
  const inner = points.slice(1, -1).map((point, n) => {
    const next = points[n + 2], last = n === points.length - 3;
    return `Q${at(point)} ${at(last ? next : { x: (point.x + next.x) / 2, y: (point.y + next.y) / 2 })}`;
  });
  return `M${at(points[0])} ${inner.length ? inner.join(" ") : `L${at(points.at(-1))}`}`;
}

const across = () => innerWidth > 800;

export function Diagram({ flow, statuses }) {
  const shape = JSON.stringify([flow.statuses, flow.moves]);
  const drawn = useMemo(() => placed(flow, across()), [shape]);
  const by = new Map(statuses.map((of) => [of.status, of]));
  return html`<div class="diagram scroll" tabindex="0" role="group" aria-label=${`Diagram of ${flow.name}; the table below says the same`}>
    <svg style=${{ minWidth: `${Math.round(drawn.width * SMALLEST)}px`, maxWidth: `${drawn.width}px` }} viewBox=${`0 0 ${drawn.width} ${drawn.height}`}>
      <defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">
        <path d="M0 0.8L7 4L0 7.2z" class="head" /></marker></defs>
      ${drawn.edges.map((edge) => html`<path class="move" d=${curve(edge.points)} marker-end="url(#arrow)" />`)}
      ${drawn.nodes.map((node) => html`<${Node} key=${node.status} flow=${flow} node=${node} of=${by.get(node.status)} />`)}
    </svg></div>`;
}

function Node({ flow, node, of }) {
  const counted = STATES.filter((state) => of.counts[state]);
  const kind = of.held ? "held" : of.paused ? "paused" : of.errors ? "failing" : of.slow ? "slow" : of.live ? "busy" : "";
  const spoken = [
    label(of.status), ...counted.map((state) => `${of.counts[state]} ${label(state)}`),
    of.held && "held", of.errors && plural(of.errors, "error"), of.slow && "slow",
  ].filter(Boolean).join(", ");
  const note = of.held ? "held" : of.errors ? plural(of.errors, "error") : of.slow ? `takes ${span(of.mean * 1_000)}` : "";
  const kinds = ["node", kind, of.terminal && "terminal"].filter(Boolean).join(" ");
  return html`<a href=${to(["runs"], { workflow: flow.name, status: of.status })} aria-label=${spoken} class=${kinds}>
    <g transform=${`translate(${node.x - node.width / 2} ${node.y - node.height / 2})`}>
      <rect width=${node.width} height=${node.height} rx="9" />
      ${of.start && html`<circle cx="0" cy=${node.height / 2} r="4" class="start" />`}
      <text x="13" y="23" class="name">${clipped(label(of.status), node.width)}</text>
      <text x="13" y="43" class="counts">
        ${counted.map((state) => html`<tspan class=${state} dx="0">${glyph[state]} ${short(of.counts[state])}${"\u2002"}</tspan>`)}
        ${!counted.length && html`<tspan class="none">no runs</tspan>`}</text>
      ${note && html`<text x=${node.width - 10} y="43" text-anchor="end" class="note">${note}</text>`}
    </g></a>`;
}

const glyph = {
  INITIATED: "○", RUNNING: "▸", PAUSED: "‖", COMPLETED: "✓", CANCELLED: "✕",
  DATA_DELETION_REQUESTED: "–", DATA_DELETED: "–",
};

function clipped(text, width) {
  const most = Math.floor((width - 26) / (LETTER - 0.4));
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
