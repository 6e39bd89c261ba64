// The page: what pgmend says of itself, on one side of paper.
import { render } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { Controls, Tables } from "./controls";
import { clock, count, latency, span } from "./format";
import { Answers, Clients, Ledger, Pools, Servers } from "./panels";
import { Plot, type Mark } from "./plot";
import { Coverage, Limits, Statements } from "./statements";
import { initial, plotSpan, Store, type State } from "./store";
import { judge } from "./verdict";
import { tell } from "./words";

const store = new Store();

type Theme = "auto" | "light" | "dark";
const themes: Theme[] = ["auto", "light", "dark"];

function remembered(): Theme {
  try {
    const said = localStorage.getItem("pgmend.theme");
    return themes.find((each) => each === said) ?? "auto";
  } catch {
    return "auto"; // where nothing may be kept
  }
}

function ThemeSwitch() {
  const [theme, setTheme] = useState(remembered);
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem("pgmend.theme", theme);
    } catch {
      // It holds for this visit.
    }
  }, [theme]);
  return (
    <div class="choice" role="group" aria-label="Colours">
      {themes.map((each) => (
        <button key={each} type="button" aria-pressed={theme === each} onClick={() => setTheme(each)}>
          {each}
        </button>
      ))}
    </div>
  );
}

function Masthead({ state, now }: { state: State; now: number }) {
  const { overview, link } = state;
  const words = { asking: "asking", live: "live", refused: "refused", lost: "no answer" }[link.is];
  return (
    <header class="masthead">
      <p class="name">pgmend</p>
      <p class="where">
        {location.host}
        {overview && (
          <>
            <span>version {overview.process.version}</span>
            <span>clients on port {overview.process.port}</span>
            <span>runs for {span(now - overview.process.started_ms)}</span>
            <span>{overview.you.user ? `${overview.you.user}, ${overview.you.role}` : "from this machine"}</span>
          </>
        )}
      </p>
      <p class={`link ${link.is}`}>{words}</p>
      <ThemeSwitch />
    </header>
  );
}

function Nobody({ state }: { state: State }) {
  if (state.link.is === "refused") {
    return (
      <section class="alone">
        <h1>The door is closed.</h1>
        <p>{state.link.words}</p>
        <p>From the machine pgmend runs on nobody is asked for a password; from elsewhere users of admin.users and admin.stats_users are.</p>
        <button type="button" onClick={() => location.reload()}>
          Show a password
        </button>
      </section>
    );
  }
  if (state.link.is === "lost") {
    return (
      <section class="alone">
        <h1>pgmend does not answer.</h1>
        <p>Nothing has come since this page was opened. {state.link.words} It is asked again every second.</p>
      </section>
    );
  }
  return (
    <section class="alone">
      <h1>Asking pgmend …</h1>
    </section>
  );
}

function Absence({ state }: { state: State }) {
  const { link } = state;
  if (link.is !== "lost") return null;
  return (
    <div class="absence" role="alert">
      <strong>pgmend has not answered for {span(Date.now() - link.since)}.</strong> What stands below is of {clock(link.since)}. {link.words}
      It may have stopped, or the way to it is broken; applications beside it then cannot reach their database.
    </div>
  );
}

function Page() {
  const [state, setState] = useState(initial);
  useEffect(() => {
    const leave = store.subscribe(setState);
    store.start();
    return leave;
  }, []);
  const { overview, samples, acts, link } = state;
  // When nothing comes, the plots stand still.
  const now = link.is === "lost" ? samples[samples.length - 1]?.at ?? store.now() : store.now();
  const marks: Mark[] = useMemo(
    () =>
      acts
        .map((act) => ({ at: Date.parse(act.at), tone: tell(act).tone as string, title: tell(act).title }))
        .filter((mark) => mark.at > now - plotSpan)
        .slice(-60),
    [acts, samples],
  );
  const verdict = overview && judge(overview, acts, now);
  useEffect(() => {
    document.title = verdict ? `${link.is === "lost" ? "no answer" : verdict.state} · pgmend` : "pgmend";
  }, [verdict?.state, link.is]);
  // It begins with a minute, and grows to the whole.
  const age = now - (samples[0]?.at ?? now);
  const shownSpan = Math.min(Math.max(age, 60_000), plotSpan);
  const axis = { samples, marks, from: now - shownSpan, to: now };
  return (
    <>
      <Masthead state={state} now={now} />
      {!overview || !verdict || link.is === "refused" ? (
        <Nobody state={state} />
      ) : (
        <>
          <Absence state={state} />
          <main class={link.is === "lost" ? "stale" : ""}>
            <Answers verdict={verdict} score={overview.health.score} />
            <Servers overview={overview} />
            <section aria-label="The last five minutes" class="plots">
              <Plot
                {...axis}
                title="Throughput, a second"
                print={count}
                lines={[
                  { name: "statements", kind: "first", value: (sample) => sample.queries },
                  { name: "errors", kind: "alarm", value: (sample) => sample.errors },
                ]}
              />
              <Plot
                {...axis}
                title="Latency of requests"
                print={latency}
                logarithmic
                lines={[
                  { name: "p50", kind: "first", value: (sample) => sample.p50 },
                  { name: "p95", kind: "second", value: (sample) => sample.p95 },
                  { name: "p99", kind: "third", value: (sample) => sample.p99 },
                ]}
              />
              <Plot
                {...axis}
                title="Clients"
                print={count}
                lines={[
                  { name: "connected", kind: "second", value: (sample) => sample.connected },
                  { name: "waiting", kind: "alarm", value: (sample) => sample.waiting },
                ]}
              />
            </section>
            <Ledger acts={acts} now={now} missed={state.missed} stream={link.is === "live" && link.stream} />
            <div class="beside">
              <Pools overview={overview} />
              <Clients clients={state.clients} overview={overview} />
              <Controls overview={overview} done={() => store.again()} />
            </div>
            <Statements rows={state.statements} />
            <Coverage rows={state.coverage} />
            <Limits rows={state.limits} />
            <Tables />
          </main>
        </>
      )}
    </>
  );
}

render(<Page />, document.getElementById("page")!);
