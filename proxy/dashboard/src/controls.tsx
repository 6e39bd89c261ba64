// What an administrator may do from here, and every table of the console.
import { useEffect, useState } from "preact/hooks";
import { command, table, tables } from "./store";
import type { Overview, Row } from "./types";
import { text } from "./verdict";

interface Deed {
  word: string;
  path: string;
  asks?: string; // what is asked before it is done
  does: string;
  forWhat: "everything" | "database" | "server";
}

const deeds: Deed[] = [
  { word: "Check servers", path: "/health/check", does: "Asks every server now.", forWhat: "everything" },
  { word: "Reload", path: "/api/command/reload", does: "Reads settings, secrets and certificates again.", forWhat: "everything" },
  {
    word: "Pause",
    path: "/api/command/pause",
    asks: "New requests will wait until somebody resumes.",
    does: "Lets transactions end, then holds requests.",
    forWhat: "database",
  },
  { word: "Resume", path: "/api/command/resume", does: "Lets held requests go on.", forWhat: "database" },
  {
    word: "Reconnect",
    path: "/api/command/reconnect",
    asks: "Every server connection will be opened anew as it becomes free.",
    does: "Opens server connections anew.",
    forWhat: "database",
  },
  {
    word: "Ban",
    path: "/api/command/ban",
    asks: "Transactions under way end there; no new request goes to it until somebody takes that back.",
    does: "Keeps new requests from a server.",
    forWhat: "server",
  },
  { word: "Unban", path: "/api/command/unban", does: "Lets requests go to a server again.", forWhat: "server" },
];

const everyDatabase = "";

export function Controls({ overview, done }: { overview: Overview; done: () => void }) {
  const [asked, setAsked] = useState<Deed | null>(null);
  const [busy, setBusy] = useState(false);
  const [database, setDatabase] = useState(everyDatabase);
  const [chosen, setServer] = useState("");
  const servers = overview.topology.map((row) => text(row.server));
  const server = servers.includes(chosen) ? chosen : servers[0] ?? "";
  const [said, setSaid] = useState<{ ok: boolean; words: string } | null>(null);
  const { role, user } = overview.you;
  if (role !== "admin") {
    return (
      <section aria-labelledby="controls" class="controls">
        <h2 id="controls">Controls</h2>
        <p class="empty">{user} may look at everything here. Who is in admin.users may also pause, resume and reload.</p>
      </section>
    );
  }
  const carryOut = async (deed: Deed) => {
    setAsked(null);
    setBusy(true);
    setSaid(null);
    const named = (what: string, name: string) => (name === "" ? "" : `?${what}=${encodeURIComponent(name)}`);
    const whose = { everything: "", database: named("database", database), server: named("server", server) }[deed.forWhat];
    const { ok, words } = await command(deed.path + whose);
    setSaid({ ok, words: `${deed.word}: ${words}` });
    setBusy(false);
    done();
  };
  return (
    <section aria-labelledby="controls" class="controls">
      <h2 id="controls">Controls</h2>
      <label>
        For{" "}
        <select value={database} onChange={(event) => setDatabase(event.currentTarget.value)}>
          <option value={everyDatabase}>every database</option>
          {overview.databases
            .filter((row) => row.name !== "pgmend" && row.name !== "pgbouncer")
            .slice(0, 100)
            .map((row) => (
              <option key={text(row.name)} value={text(row.name)}>
                {text(row.name)}
              </option>
            ))}
        </select>
      </label>
      <label>
        and server{" "}
        <select value={server} onChange={(event) => setServer(event.currentTarget.value)}>
          {servers.map((each) => (
            <option key={each} value={each}>
              {each}
            </option>
          ))}
        </select>
      </label>
      <div class="buttons">
        {deeds.map((deed) => (
          <button
            key={deed.word}
            type="button"
            disabled={busy}
            title={deed.does}
            onClick={() => (deed.asks ? setAsked(deed) : void carryOut(deed))}
          >
            {deed.word}
          </button>
        ))}
      </div>
      {asked && (
        <div class="question" role="alertdialog" aria-label={`${asked.word}?`}>
          <p>
            {asked.word} {asked.forWhat === "server" ? server : database === everyDatabase ? "every database" : database}? {asked.asks}
          </p>
          <button type="button" class="sure" onClick={() => void carryOut(asked)}>
            {asked.word}
          </button>
          <button type="button" onClick={() => setAsked(null)}>
            Leave it
          </button>
        </div>
      )}
      <p class={`said ${said && !said.ok ? "bad" : ""}`} role="status">
        {busy ? "Under way …" : said?.words}
      </p>
    </section>
  );
}

const mostRows = 200;

export function Tables() {
  const [names, setNames] = useState<string[]>([]);
  const [name, setName] = useState("");
  const [rows, setRows] = useState<Row[] | null>(null);
  const [problem, setProblem] = useState("");
  const load = (which: string) => {
    setName(which);
    setRows(null);
    setProblem("");
    if (which) table(which, mostRows).then(setRows, (error: Error) => setProblem(error.message));
  };
  useEffect(() => {
    tables().then(setNames, (error: Error) => setProblem(error.message));
  }, []);
  const columns = Object.keys(rows?.[0] ?? {});
  return (
    <section aria-labelledby="tables" class="tables">
      <header>
        <h2 id="tables">Tables</h2>
        <label>
          SHOW{" "}
          <select value={name} onChange={(event) => load(event.currentTarget.value)}>
            <option value="">choose one</option>
            {names.map((each) => (
              <option key={each} value={each}>
                {each}
              </option>
            ))}
          </select>
        </label>
        {name && (
          <button type="button" onClick={() => load(name)}>
            Again
          </button>
        )}
      </header>
      {problem && <p class="said bad">{problem}</p>}
      {name && !rows && !problem && <p class="empty">Asking …</p>}
      {rows?.length === 0 && <p class="empty">It has no rows.</p>}
      {rows && rows.length > 0 && (
        <div class="scroll tall">
          <table>
            <thead>
              <tr>
                {columns.map((column) => (
                  <th key={column} scope="col">
                    {column}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map((row, i) => (
                <tr key={i}>
                  {columns.map((column) => (
                    <td key={column} class={typeof row[column] === "number" ? "number" : ""}>
                      {text(row[column])}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {rows && rows.length === mostRows && <p class="quiet">The first {mostRows} rows.</p>}
    </section>
  );
}
