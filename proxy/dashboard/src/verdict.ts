// The six questions of whoever is called at night, answered from what pgmend says of itself.
import { moment, several, span } from "./format";
import type { Act, Component, Overview, Row } from "./types";
import { electionWords, wasTold } from "./words";

export interface Verdict {
  state: "healthy" | "degraded" | "critical";
  headline: string;
  answers: [question: string, answer: string, more?: string[]][];
}

const recent = 15 * 60_000; // ms: what is told of as being over

export const text = (value: unknown) => (value === null || value === undefined ? "" : String(value));
export const sum = (rows: Row[], column: string) => rows.reduce((total, row) => total + Number(row[column] ?? 0), 0);

export const serverName = (component: string) => component.replace(/^server:/, "");
const sentence = (words: string) => (words ? words[0]!.toUpperCase() + words.slice(1).replace(/[.:,;\s]+$/, "") + "." : "");

const rank = { healthy: 0, degraded: 1, critical: 2 };

function worst(components: Record<string, Component>): [string, Component] | null {
  const ill = Object.entries(components).filter(([, each]) => each.state !== "healthy");
  // The topology speaks for its servers.
  ill.sort((a, b) => rank[b[1].state] - rank[a[1].state] || Number(b[0] === "topology") - Number(a[0] === "topology"));
  return ill[0] ?? null;
}

/** Finding the first primary after the start is no trouble. */
const isFirstFind = (act: Act, before: Act[]) =>
  act.kind === "primary" && act.outcome === "elected" && act.cause.startsWith("none was known") && !before.some((each) => each.kind === "primary");

/** The acts of the latest trouble: from the first one after a minute of quiet. */
function latestTrouble(acts: Act[], now: number): Act[] {
  const trouble: Act[] = [];
  let before = now;
  acts = acts.filter((each) => each.kind !== "alert" && each.kind !== "settings" && each.kind !== "listed");
  for (let i = acts.length - 1; i >= 0; --i) {
    const at = Date.parse(acts[i]!.at);
    if (isFirstFind(acts[i]!, acts.slice(0, i))) break;
    if (trouble.length > 0 ? before - at > 60_000 : now - at > recent) break;
    trouble.unshift(acts[i]!);
    before = at;
  }
  return trouble;
}

function deeds(trouble: Act[]): string {
  const of = (kind: string, outcome?: string) => trouble.filter((each) => each.kind === kind && (!outcome || each.outcome === outcome));
  const parts: string[] = [];
  const released = of("hold", "released");
  const held = released.reduce((total, each) => total + each.count, 0);
  if (held > 0) parts.push(`held ${several(held, "request", "requests")} for up to ${span(Math.max(...released.map((each) => each.took_ms)))}`);
  const again = of("server_lost", "sent_again").length;
  if (again > 0) parts.push(`sent ${several(again, "statement", "statements")} again`);
  const replayed = of("replay", "continued").length;
  if (replayed > 0) parts.push(`ran ${several(replayed, "transaction", "transactions")} again`);
  const elected = of("primary", "elected").pop();
  if (elected) parts.push(`chose ${elected.server} as the primary`);
  const plans = of("plan_renewed", "renewed").length;
  if (plans > 0) parts.push(`prepared ${several(plans, "statement", "statements")} anew`);
  const fenced = new Set(of("server", "fenced").map((each) => each.server));
  if (fenced.size > 0) parts.push(`fenced ${[...fenced].join(", ")}`);
  const opened = new Set(of("breaker", "open").map((each) => each.server));
  if (opened.size > 0) parts.push(`spared ${[...opened].join(", ")} for a while`);
  return parts.join("; ");
}

function sufferers(overview: Overview, trouble: Act[]): [string, string[]] {
  const waiting = sum(overview.pools, "cl_waiting");
  const connected = Number(overview.health.components.clients?.clients ?? 0);
  const told = trouble.filter(wasTold).length;
  const more: string[] = [];
  if (told > 0) more.push(`${several(told, "client was", "clients were")} told an error.`);
  const gone = trouble.length > 0 && told === 0 && waiting === 0 ? " No client was told an error." : "";
  if (waiting === 0) return [`Nobody waits; ${several(connected, "client is", "clients are")} connected.${gone}`, more];
  const longest = Number(overview.health.components.pools?.longest_wait_ms ?? 0);
  const pools = overview.pools.filter((row) => Number(row.cl_waiting) > 0);
  more.unshift(...pools.slice(0, 3).map((row) => `${text(row.user)}@${text(row.database)}: ${text(row.cl_waiting)} waiting`));
  return [`${several(waiting, "client waits", "clients wait")} of ${connected}, the longest for ${span(longest)}.`, more];
}

function headline(overview: Overview, ill: [string, Component] | null, trouble: boolean): string {
  if (overview.process.draining) return "pgmend is on its way out: no new client comes in.";
  if (overview.process.paused) return "Everything is paused: requests wait until somebody resumes.";
  if (!ill) return trouble ? `All is well again: ${text(overview.health.components.topology?.primary)} serves.` : "All is well.";
  const [name, component] = ill;
  if (name === "topology" && overview.health.state === "critical") return "There is no primary.";
  const down = overview.topology.filter((row) => row.condition === "down").map((row) => text(row.server));
  if (down.length > 0 && (name === "topology" || name.startsWith("server:"))) {
    const serving = text(overview.health.components.topology?.primary);
    return sentence(`${down.join(", ")} ${down.length === 1 ? "is" : "are"} down; ${serving} ${trouble ? "has taken over" : "serves"}`);
  }
  if (name.startsWith("server:")) return sentence(`${serverName(name)}: ${component.reason ?? component.state}`);
  return sentence(component.reason ?? `${name} is ${component.state}`);
}

/** Why there is no primary, from what the report says of it. */
function reasonOf(name: string, component: Component): string {
  const reason = component.reason ?? "";
  const why = /^there is no primary: (.+)$/.exec(reason);
  if (why) return sentence(why[1]!);
  return sentence(name.startsWith("server:") ? `${serverName(name)}: ${reason}` : reason);
}

function primarySince(acts: Act[], server: string): Act | undefined {
  return [...acts].reverse().find((each) => each.kind === "primary" && each.outcome === "elected" && each.server === server);
}

export function judge(overview: Overview, acts: Act[], now: number): Verdict {
  const { components, state, recommendations } = overview.health;
  const ill = worst(components);
  const trouble = latestTrouble(acts, now);
  const primary = overview.topology.find((row) => row.role === "primary" && row.condition !== "down");
  const known = text(components.topology?.primary);
  const down = overview.topology.filter((row) => row.condition === "down").map((row) => text(row.server));
  const lost = [...acts].reverse().find((each) => each.kind === "primary");
  const noPrimary = !known || lost?.outcome === "lost";

  let which = primary ? `${text(primary.server)} is the primary.` : "No server is the primary.";
  if (known && !noPrimary) which = `${known} is the primary.`;
  const others = down.filter((each) => each !== known || noPrimary);
  if (others.length > 0) which += ` ${others.join(", ")} ${others.length === 1 ? "is" : "are"} down.`;

  const elected = noPrimary ? undefined : primarySince(acts, known);
  const sick = ill?.[0].startsWith("server:") ? Number(ill[1].unchanged_ms ?? NaN) : NaN;
  const since = noPrimary && lost?.outcome === "lost" ? Date.parse(lost.at) : elected ? Date.parse(elected.at) : NaN;
  let when = Number.isNaN(since) ? `pgmend runs since ${moment(overview.process.started_ms, now)}.` : `${moment(since, now)}, ${span(now - since)} ago.`;
  const more: string[] = [];
  if (!Number.isNaN(sick)) more.push(`${serverName(ill![0])} is as it is for ${span(sick)}.`);
  if (noPrimary && lost?.outcome !== "lost") when = `Since pgmend began: ${span(now - overview.process.started_ms)}.`;

  const reasons = Object.entries(components)
    .filter(([, each]) => each.state !== "healthy" && each.reason)
    .sort((a, b) => rank[b[1].state] - rank[a[1].state]) // stable: the topology stands before its servers
    .map(([name, each]) => reasonOf(name, each));
  const told = elected && !elected.cause.startsWith("none was known") ? sentence(`${electionWords(elected.reason)}; ${elected.cause}`) : "";
  const why = reasons.length > 0 ? reasons : [told || "Nothing is wrong."];

  const held = noPrimary ? sum(overview.pools, "cl_waiting") : 0;
  const done = [held > 0 ? `holds ${several(held, "request", "requests")} until a server can take them` : "", deeds(trouble)].filter(Boolean).join("; ");
  const [suffer, details] = sufferers(overview, trouble);
  const advice = recommendations.map((each) => sentence(each.replace(/^server:/, "").replace(/^(topology|pools|clients|memory): /, "")));
  if (overview.process.paused) advice.unshift("RESUME, when what it was paused for is done.");
  return {
    state,
    headline: headline(overview, ill, trouble.some((each) => each.kind === "primary")),
    answers: [
      ["Which server", which],
      ["Since when", when, more],
      ["Why", why[0]!, why.slice(1, 4)],
      ["What pgmend did", done ? sentence(done) : noPrimary ? "It holds what clients ask for, until a server can take it." : "Nothing was to be done.", []],
      ["Who suffers", suffer, details],
      ["What to do", advice[0] ?? "Nothing.", advice.slice(1, 4)],
    ],
  };
}
