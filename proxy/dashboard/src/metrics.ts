// Rates and percentiles from two readings of /metrics.
import type { Sample } from "./types";

interface Reading {
  at: number;
  values: Map<string, number>;
  buckets: [bound: number, count: number][]; // cumulative, by bound
}

const line = /^([a-z_]+)(?:\{([^}]*)\})? ([0-9.eE+-]+|\+?Inf|NaN)$/;
const wanted = new Set([
  "pgmend_queries_total",
  "pgmend_errors_total",
  "pgmend_clients_waiting",
  "pgmend_clients_connected",
]);

export function read(text: string, at: number): Reading {
  const reading: Reading = { at, values: new Map(), buckets: [] };
  for (const each of text.split("\n")) {
    if (!each.startsWith("pgmend_")) continue;
    const found = line.exec(each);
    if (!found) continue;
    const [, name = "", labels = "", value = ""] = found;
    if (wanted.has(name)) reading.values.set(name, Number(value));
    const bound = name === "pgmend_request_seconds_bucket" && /le="([^"]+)"/.exec(labels);
    if (bound) reading.buckets.push([bound[1] === "+Inf" ? Infinity : Number(bound[1]), Number(value)]);
  }
  return reading;
}

/** Below which this share of the requests between two readings was answered; null where there were none. */
export function percentile(older: Reading, newer: Reading, share: number): number | null {
  if (older.buckets.length !== newer.buckets.length) return null;
  const counts = newer.buckets.map(([, count], i) => count - older.buckets[i]![1]);
  const total = counts[counts.length - 1] ?? 0;
  if (!(total > 0)) return null;
  const rank = share * total;
  const place = counts.findIndex((count) => count >= rank);
  const upper = newer.buckets[place]![0];
  const lower = place > 0 ? newer.buckets[place - 1]![0] : upper / 2;
  if (upper === Infinity) return lower;
  // Bounds double, so what lies between them is taken to be spread evenly on a scale of powers.
  const below = place > 0 ? counts[place - 1]! : 0;
  const part = (rank - below) / Math.max(counts[place]! - below, 1);
  return lower * Math.pow(upper / lower, Math.min(Math.max(part, 0), 1));
}

const percentilesOver = 10_000; // ms: in one second alone there are often too few

/** Turns readings into samples. After a restart counters begin again, which is a gap. */
export class Meter {
  private readings: Reading[] = [];

  take(text: string, at: number): Sample {
    const now = read(text, at);
    const before = this.readings[this.readings.length - 1];
    const value = (name: string) => now.values.get(name) ?? 0;
    const restarted = before !== undefined && value("pgmend_queries_total") < (before.values.get("pgmend_queries_total") ?? 0);
    if (restarted) this.readings = [];
    const last = restarted ? undefined : before;
    const rate = (name: string) =>
      last && at > last.at ? ((value(name) - (last.values.get(name) ?? 0)) * 1000) / (at - last.at) : null;
    const oldest = this.readings[0];
    const sample: Sample = {
      at,
      queries: rate("pgmend_queries_total"),
      errors: rate("pgmend_errors_total"),
      waiting: value("pgmend_clients_waiting"),
      connected: value("pgmend_clients_connected"),
      p50: oldest ? percentile(oldest, now, 0.5) : null,
      p95: oldest ? percentile(oldest, now, 0.95) : null,
      p99: oldest ? percentile(oldest, now, 0.99) : null,
    };
    this.readings.push(now);
    while (this.readings.length > 1 && at - this.readings[0]!.at > percentilesOver) this.readings.shift();
    return sample;
  }
}
