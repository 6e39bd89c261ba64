// What pgmend answers, as far as the page reads it.

export type Row = Record<string, string | number | null>;

export interface Component {
  state: "healthy" | "degraded" | "critical";
  reason?: string;
  [figure: string]: unknown;
}

export interface Overview {
  you: { user: string; role: "admin" | "stats" };
  process: {
    id: string;
    version: string;
    now_ms: number;
    started_ms: number;
    port: number;
    workers: number;
    paused: boolean;
    draining: boolean;
  };
  health: {
    state: Component["state"];
    score: number;
    components: Record<string, Component>;
    recommendations: string[];
  };
  topology: Row[];
  breakers: Row[];
  databases: Row[];
  pools: Row[];
}

/** One act of healing, as the ledger has it. */
export interface Act {
  at: string;
  number: number;
  worker?: number;
  kind: string;
  outcome: string;
  reason: string;
  client: string;
  server: string;
  database: string;
  user: string;
  shape: string;
  cause: string;
  attempt: number;
  count: number;
  took_ms: number;
}

/** What changed between two readings of /metrics. */
export interface Sample {
  at: number; // ms since 1970, the browser's clock
  queries: number | null; // a second
  errors: number | null;
  waiting: number;
  connected: number;
  p50: number | null; // seconds
  p95: number | null;
  p99: number | null;
}

/** How the page and pgmend get on. */
export type Link =
  | { is: "asking" }
  | { is: "live"; stream: boolean }
  | { is: "refused"; words: string }
  | { is: "lost"; since: number; words: string };
