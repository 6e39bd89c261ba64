// Asks pgmend, listens to it, and keeps what the page shows: so many samples, so many acts.
import { Meter } from "./metrics";
import type { Act, Link, Overview, Row, Sample } from "./types";

export interface State {
  link: Link;
  overview: Overview | null;
  samples: Sample[];
  acts: Act[]; // the oldest first
  missed: number; // acts that the ledger had forgotten before we could ask
  clients: Row[];
  statements: Row[]; // the dearest first
  coverage: Row[];
  limits: Row[]; // who is refused most first
}

export const plotSpan = 300_000; // ms
const mostActs = 200;
const mostClients = 20;
const mostStatements = 15;
const mostLimits = 30;
const tick = 1_000;
const hiddenTick = 5_000;
const answerWithin = 4_000;
const patience = 3_000; // without an answer, until the page says so

export const initial: State = { link: { is: "asking" }, overview: null, samples: [], acts: [], missed: 0, clients: [], statements: [], coverage: [], limits: [] };

class Refusal extends Error {}

/** What a GET answers; a Refusal where the door is closed, and an Error for everything else. */
async function get(path: string): Promise<Response> {
  // By this Accept pgmend knows the page, and does not have the browser ask for a password every second.
  const headers = { Accept: "application/json" };
  const answer = await fetch(path, { cache: "no-store", headers, signal: AbortSignal.timeout(answerWithin) });
  if (answer.status === 401 || answer.status === 403) throw new Refusal(await words(answer));
  if (!answer.ok && answer.status !== 503) throw new Error(await words(answer));
  return answer;
}

async function words(answer: Response): Promise<string> {
  try {
    const { error, hint } = (await answer.json()) as { error?: string; hint?: string };
    if (error) return hint ? `${error} ${hint}` : error;
  } catch {
    // It is no JSON: the status says enough.
  }
  return `HTTP ${answer.status}`;
}

/** Gives a command; what came of it, in words. */
export async function command(path: string): Promise<{ ok: boolean; words: string }> {
  try {
    const answer = await fetch(path, { method: "POST", headers: { Accept: "application/json", "X-Pgmend-Command": "yes" } });
    if (answer.status === 202) return { ok: true, words: "It has begun, and ends when the transactions under way do." };
    if (answer.ok || answer.status === 503) return { ok: true, words: "Done." };
    return { ok: false, words: await words(answer) };
  } catch {
    return { ok: false, words: "pgmend does not answer." };
  }
}

export async function table(name: string, limit: number): Promise<Row[]> {
  const answer = (await (await get(`/api/${encodeURIComponent(name)}?limit=${limit}`)).json()) as Record<string, Row[]>;
  return answer[name] ?? [];
}

export async function tables(): Promise<string[]> {
  return ((await (await get("/api")).json()) as { tables: string[] }).tables.filter((each) => each !== "events");
}

export class Store {
  private state = initial;
  private readonly meter = new Meter();
  private listeners = new Set<(state: State) => void>();
  private source: EventSource | null = null;
  private streaming = false;
  private actsOf = ""; // the process whose ledger they are from
  private pending: Act[] = [];
  private answered = Date.now();
  private ahead = 0; // pgmend's clock less ours, ms
  private timer = 0;
  private rounds = 0;

  subscribe(listener: (state: State) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Now by pgmend's clock, so that its times and ours can be compared. */
  now(): number {
    return Date.now() + this.ahead;
  }

  start(): void {
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.round();
    });
    void this.round();
  }

  /** Asks at once, whenever the next time would have been. */
  again(): void {
    void this.round();
  }

  private change(part: Partial<State>): void {
    this.state = { ...this.state, ...part };
    for (const each of this.listeners) each(this.state);
  }

  private async round(): Promise<void> {
    clearTimeout(this.timer);
    const number = ++this.rounds;
    try {
      const [overview, metrics] = await Promise.all([
        get("/api/overview").then((answer) => answer.json() as Promise<Overview>),
        get("/metrics").then((answer) => answer.text()),
      ]);
      if (number !== this.rounds) return; // a later one is under way
      this.takeOverview(overview, metrics);
      this.listen();
      if (this.rounds % 3 === 1) await this.poll(overview.process.id);
      if (this.rounds % 2 === 1 || this.someoneWaits()) await this.askClients();
      if (this.rounds % 5 === 1) await this.askStatements();
    } catch (error) {
      if (number !== this.rounds) return;
      this.fail(error);
    }
    if (number === this.rounds) this.timer = window.setTimeout(() => void this.round(), document.hidden ? hiddenTick : tick);
  }

  private takeOverview(overview: Overview, metrics: string): void {
    this.answered = Date.now();
    this.ahead = overview.process.now_ms - this.answered;
    const at = this.now();
    const samples = [...this.state.samples, this.meter.take(metrics, at)];
    while (samples.length > 1 && at - samples[0]!.at > plotSpan) samples.shift();
    this.change({ overview, samples, link: { is: "live", stream: this.streaming } });
  }

  private fail(error: unknown): void {
    if (error instanceof Refusal) {
      this.silence();
      this.change({ link: { is: "refused", words: error.message } });
      return;
    }
    if (Date.now() - this.answered < patience && this.state.overview) return;
    const heard = error instanceof DOMException || error instanceof TypeError ? "" : String((error as Error).message);
    this.change({ link: { is: "lost", since: this.answered, words: heard } });
  }

  // ---- what is healed ------------------------------------------------------------------------------------

  /** The browser comes again by itself, and is told what it has missed. One that was refused is asked for anew. */
  private listen(): void {
    if (this.source && this.source.readyState !== EventSource.CLOSED) return;
    if (this.source && this.rounds % 10 !== 0) return;
    const source = new EventSource("/api/events/stream");
    this.source = source;
    source.addEventListener("begin", (event) => {
      const { process, resumed, missed } = JSON.parse(event.data) as { process: string; resumed: boolean; missed: number };
      // Another process begins a ledger of its own; what the one before has told stays true.
      const goesOn = resumed || (this.actsOf !== "" && this.actsOf !== process);
      this.actsOf = process;
      this.streaming = true;
      this.change({ acts: goesOn ? this.state.acts : [], missed: this.state.missed + missed, link: { is: "live", stream: true } });
    });
    source.addEventListener("healing", (event) => this.hear(JSON.parse(event.data) as Act));
    source.addEventListener("end", () => this.silence());
    source.addEventListener("error", () => {
      this.streaming = false;
    });
  }

  private silence(): void {
    this.source?.close();
    this.streaming = false;
  }

  /** Many may come at one time: they are shown together. */
  private hear(act: Act): void {
    this.pending.push(act);
    if (this.pending.length > 1) return;
    setTimeout(() => this.change({ acts: [...this.state.acts, ...this.pending.splice(0)].slice(-mostActs) }), 50);
  }

  private async poll(process: string): Promise<void> {
    if (this.source?.readyState !== EventSource.CLOSED) return;
    const { events } = (await (await get(`/api/events?limit=${mostActs}`)).json()) as { events: Act[] };
    this.actsOf = process;
    this.change({ acts: events });
  }

  // ---- clients -------------------------------------------------------------------------------------------

  /** By the latest figures, or by the list that is shown. */
  private someoneWaits(): boolean {
    const waiting = this.state.samples[this.state.samples.length - 1]?.waiting ?? 0;
    return waiting > 0 || this.state.clients.some((row) => row.state === "waiting");
  }

  /** Those who wait first, then those who are served, then the others; never a long list. */
  private async askClients(): Promise<void> {
    const clients: Row[] = [];
    const connected = this.state.samples[this.state.samples.length - 1]?.connected ?? 0;
    for (const state of ["waiting", "active", "idle"]) {
      if (clients.length >= mostClients || (state !== "waiting" && connected > 2_000)) break;
      const answer = await get(`/api/clients?state=${state}&limit=${mostClients - clients.length}`);
      clients.push(...((await answer.json()) as { clients: Row[] }).clients);
    }
    this.change({ clients });
  }

  private async askStatements(): Promise<void> {
    const [statements, coverage, limits] = await Promise.all([table("statements", mostStatements), table("coverage", 100), table("limits", mostLimits)]);
    this.change({ statements, coverage, limits });
  }
}
