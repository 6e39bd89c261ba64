// The parts of the page that show what is there.
import { useState } from "preact/hooks";
import { clock, count, latency, moment, several, span } from "./format";
import type { Act, Overview, Row } from "./types";
import { text, type Verdict } from "./verdict";
import { groups, type Group, type Tone } from "./words";

/** A state as a shape, so that colour is not needed to read it. */
export function Sign({ tone }: { tone: Tone | "off" }) {
  const shapes = {
    good: <circle cx="6" cy="6" r="4.5" />,
    wait: <path d="M6 1 11.2 10.5H.8z" />,
    bad: <path d="M1.5 1.5h9v9h-9z" />,
    note: <circle cx="6" cy="6" r="4" class="hollow" />,
    off: <path d="M1 6h10" class="hollow" />,
  };
  return (
    <svg class={`sign ${tone}`} viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">
      {shapes[tone]}
    </svg>
  );
}

const tones: Record<Verdict["state"], Tone> = { healthy: "good", degraded: "wait", critical: "bad" };
const states: Record<Verdict["state"], string> = { healthy: "Healthy", degraded: "Degraded", critical: "Critical" };

export function Answers({ verdict, score }: { verdict: Verdict; score: number }) {
  return (
    <section class={`verdict ${verdict.state}`} aria-labelledby="verdict">
      <p class="state">
        <Sign tone={tones[verdict.state]} /> {states[verdict.state]} <span class="quiet">{score} of 100</span>
      </p>
      <h1 id="verdict" aria-live="polite">
        {verdict.headline}
      </h1>
      <dl>
        {verdict.answers.map(([question, answer, more]) => (
          <div key={question}>
            <dt>{question}</dt>
            <dd>
              {answer}
              {more?.map((each) => <p key={each}>{each}</p>)}
            </dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

// ---- servers ---------------------------------------------------------------------------------------------

function toneOf(server: Row): Tone | "off" {
  if (server.condition === "up" && server.banned !== "no") return "wait";
  if (server.condition === "down" || server.role === "fenced" || server.role === "foreign") return "bad";
  if (server.condition === "suspect") return "wait";
  if (server.condition === "unknown") return "off";
  return "good";
}

const roles: Record<string, string> = {
  primary: "Primary",
  standby: "Standby",
  fenced: "Fenced: an old primary",
  foreign: "Of another cluster",
  unknown: "Role not known",
};
const classes: Record<string, string> = { local: "way to it", resource: "its resources" };

function Breakers({ rows }: { rows: Row[] }) {
  const open = rows.filter((row) => row.state !== "closed");
  if (rows.length === 0) return <>–</>;
  if (open.length === 0) return <>closed</>;
  return (
    <>
      {open.map((row) => (
        <span key={`${row.class}${row.worker}`} class="breaker">
          <Sign tone={row.state === "open" ? "bad" : "wait"} /> {text(row.state).replace("_", " ")}, {classes[text(row.class)] ?? text(row.class)}
          <small>
            {text(row.reason).replaceAll("_", " ")}, opened {Number(row.opened) === 1 ? "once" : `${text(row.opened)} times`}
          </small>
        </span>
      ))}
    </>
  );
}

export function Servers({ overview }: { overview: Overview }) {
  return (
    <section aria-labelledby="servers" class="servers">
      <h2 id="servers">Servers</h2>
      <ul>
        {overview.topology.map((row) => {
          const name = text(row.server);
          const figures = overview.health.components[`server:${name}`];
          const up = row.condition === "up" || row.condition === "suspect";
          const rate = Number(figures?.success_rate ?? 1);
          return (
            <li key={name} class={`server ${toneOf(row)} ${row.role === "primary" ? "primary" : ""}`}>
              <header>
                <Sign tone={toneOf(row)} />
                <strong>{name}</strong>
                <span class="role">{up || row.role !== "unknown" ? roles[text(row.role)] ?? text(row.role) : ""}</span>
                <span class="condition">
                  {text(row.condition)}
                  {row.banned !== "no" && `, banned: ${text(row.banned)}`}
                </span>
              </header>
              {figures?.reason && <p class="reason">{figures.reason}</p>}
              <dl>
                <div>
                  <dt>{row.condition === "up" ? "Answers for" : "As it is for"}</dt>
                  <dd>{span(Number(figures?.unchanged_ms ?? NaN))}</dd>
                </div>
                <div>
                  <dt>Check</dt>
                  <dd>{up ? latency(Number(row.latency_us) / 1e6) : "–"}</dd>
                </div>
                <div>
                  <dt>Lag</dt>
                  <dd>{row.role === "standby" && up ? span(Number(row.lag_ms)) : "–"}</dd>
                </div>
                <div>
                  <dt>Checks answered</dt>
                  <dd>{(100 * rate).toFixed(rate < 1 && rate > 0.99 ? 1 : 0)} %</dd>
                </div>
                <div>
                  <dt>Timeline</dt>
                  <dd>
                    {text(row.timeline)} <small>{text(row.lsn)}</small>
                  </dd>
                </div>
                <div>
                  <dt>Connections</dt>
                  <dd>{text(row.sv_connections)}</dd>
                </div>
                <div class="wide">
                  <dt>Breakers</dt>
                  <dd>
                    <Breakers rows={overview.breakers.filter((each) => each.server === name)} />
                  </dd>
                </div>
              </dl>
            </li>
          );
        })}
      </ul>
    </section>
  );
}

// ---- pools and clients -----------------------------------------------------------------------------------

export function Pools({ overview }: { overview: Overview }) {
  const most = 30;
  const waits = (row: Row) => Number(row.maxwait ?? 0) * 1_000 + Number(row.maxwait_us ?? 0) / 1_000;
  const rows = [...overview.pools].sort((a, b) => Number(b.cl_waiting) - Number(a.cl_waiting) || waits(b) - waits(a));
  const paused = new Set(overview.databases.filter((row) => Number(row.paused)).map((row) => text(row.name)));
  return (
    <section aria-labelledby="pools">
      <h2 id="pools">Pools</h2>
      {rows.length === 0 ? (
        <p class="empty">There is no pool: nobody has connected yet.</p>
      ) : (
        <div class="scroll">
          <table>
            <thead>
              <tr>
                <th scope="col">Pool</th>
                <th scope="col" class="number">Clients</th>
                <th scope="col" class="number">Waiting</th>
                <th scope="col" class="number">Longest</th>
                <th scope="col" class="number">Busy</th>
                <th scope="col" class="number">Idle</th>
                <th scope="col" class="number">Opening</th>
              </tr>
            </thead>
            <tbody>
              {rows.slice(0, most).map((row) => (
                <tr key={`${row.user}@${row.database}`} class={Number(row.cl_waiting) > 0 ? "wait" : ""}>
                  <th scope="row">
                    {text(row.user)}@{text(row.database)} {paused.has(text(row.database)) && <em>paused</em>}
                  </th>
                  <td class="number">{count(Number(row.cl_active) + Number(row.cl_waiting))}</td>
                  <td class="number">{count(Number(row.cl_waiting))}</td>
                  <td class="number">{Number(row.cl_waiting) > 0 ? span(waits(row)) : "–"}</td>
                  <td class="number">{count(Number(row.sv_active) + Number(row.sv_being_canceled))}</td>
                  <td class="number">{count(Number(row.sv_idle) + Number(row.sv_tested))}</td>
                  <td class="number">{count(Number(row.sv_login))}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {rows.length > most && <p class="quiet">{several(rows.length - most, "pool", "pools")} more under Tables.</p>}
    </section>
  );
}

export function Clients({ clients, overview }: { clients: Row[]; overview: Overview }) {
  const connected = Number(overview.health.components.clients?.clients ?? 0);
  return (
    <section aria-labelledby="clients">
      <h2 id="clients">Clients</h2>
      {clients.length === 0 ? (
        <p class="empty">No client is connected.</p>
      ) : (
        <ul class="clients">
          {clients.map((row) => (
            <li key={text(row.id)}>
              <Sign tone={row.state === "waiting" ? "wait" : row.state === "active" ? "good" : "note"} />
              <span class="who">
                <b>{text(row.application_name) || "(no name)"}</b>
                <small>
                  {text(row.user)}@{text(row.database)} from {text(row.addr)}
                  {Number(row.port) > 0 && `:${row.port}`}
                </small>
              </span>
              <span class="doing">
                {row.state === "waiting" ? `waits for ${span(Number(row.wait) * 1_000 + Number(row.wait_us) / 1_000)}` : text(row.state)}
              </span>
            </li>
          ))}
        </ul>
      )}
      {connected > clients.length && (
        <p class="quiet">
          {clients.length} of {count(connected)}: those who wait first.
        </p>
      )}
    </section>
  );
}

// ---- what was healed -------------------------------------------------------------------------------------

function Entry({ group, now }: { group: Group; now: number }) {
  const { act, last, story, times } = group;
  const at = Date.parse(act.at);
  const until = Date.parse(last.at);
  const whose = act.kind === "hold" ? "" : [act.user && act.database ? `${act.user}@${act.database}` : "", act.client].filter(Boolean).join(" from ");
  return (
    <li class={story.tone} data-kind={act.kind} data-outcome={act.outcome}>
      <time dateTime={act.at} title={act.at}>
        {clock(at)}
        <span class="fine">{clock(at, true).slice(8)}</span>
        <small>{span(now - at)} ago</small>
      </time>
      <span class="rail">
        <Sign tone={story.tone} />
      </span>
      <div class="told">
        <strong>
          {story.title}
          {times > 1 && <em> {times} times{until - at > 1_000 ? ` in ${span(until - at)}` : ""}</em>}
        </strong>
        {story.why && <p>{story.why}</p>}
        {act.cause && <p class="cause">{act.cause}</p>}
        {act.shape && <code>{act.shape}</code>}
        {whose && (
          <p class="quiet">
            {whose}
            {act.server && act.kind === "server_lost" && `, on ${act.server}`}
            {act.attempt > 0 && `, sent again ${several(act.attempt, "time", "times")}`}
          </p>
        )}
      </div>
    </li>
  );
}

type Filter = "everything" | "servers" | "clients";

export function Ledger({ acts, now, missed, stream }: { acts: Act[]; now: number; missed: number; stream: boolean }) {
  const few = 24;
  const [filter, setFilter] = useState<Filter>("everything");
  const [all, setAll] = useState(false);
  const told = groups(acts).filter((each) => filter === "everything" || each.story.concerns === filter);
  const shown = all ? told : told.slice(0, few);
  return (
    <section aria-labelledby="ledger" class="ledger">
      <header>
        <h2 id="ledger">What was healed</h2>
        <div class="choice" role="group" aria-label="Which acts are shown">
          {(["everything", "servers", "clients"] as const).map((each) => (
            <button key={each} type="button" aria-pressed={filter === each} onClick={() => setFilter(each)}>
              {each}
            </button>
          ))}
        </div>
      </header>
      {told.length === 0 ? (
        <p class="empty">Nothing{filter === "everything" ? "" : ` about ${filter}`} yet. Losses, failovers, held requests and breakers are told here, with their causes.</p>
      ) : (
        <ol>
          {shown.map((group) => (
            <Entry key={`${group.act.at}.${group.act.worker}.${group.act.number}`} group={group} now={now} />
          ))}
        </ol>
      )}
      {told.length > shown.length && (
        <button type="button" onClick={() => setAll(true)}>
          Show {told.length - shown.length} older
        </button>
      )}
      <footer class="quiet">
        {told.length > 0 && `The oldest here is of ${moment(Date.parse(told[told.length - 1]!.act.at), now)}. `}
        {missed > 0 && `${several(missed, "act", "acts")} had been forgotten before this page could ask. `}
        {stream ? "Told as it happens." : "Asked for every few seconds: the stream is not open."}
      </footer>
    </section>
  );
}
