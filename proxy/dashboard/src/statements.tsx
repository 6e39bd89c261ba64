// What statements cost, what would be lost with a server, and what limits are used up.
import { count, latency, several } from "./format";
import { Sign } from "./panels";
import type { Row } from "./types";
import { text } from "./verdict";

export function Statements({ rows }: { rows: Row[] }) {
  return (
    <section aria-labelledby="statements">
      <h2 id="statements">Statements</h2>
      {rows.length === 0 ? (
        <p class="empty">None has been seen since the start, or since RESET STATEMENTS.</p>
      ) : (
        <div class="scroll">
          <table>
            <thead>
              <tr>
                <th scope="col">Shape</th>
                <th scope="col" class="number">Calls</th>
                <th scope="col" class="number">Errors</th>
                <th scope="col" class="number">Sent again</th>
                <th scope="col" class="number">Pins</th>
                <th scope="col" class="number">Mean</th>
                <th scope="col" class="number">p50</th>
                <th scope="col" class="number">p95</th>
                <th scope="col" class="number">p99</th>
              </tr>
            </thead>
            <tbody>
              {rows.map((row) => (
                <tr key={text(row.statement)} class={Number(row.errors) > 0 ? "wait" : ""}>
                  <th scope="row">
                    <code>{text(row.statement)}</code>
                  </th>
                  {["calls", "errors", "retries", "pins"].map((each) => (
                    <td key={each} class="number">
                      {count(Number(row[each]))}
                    </td>
                  ))}
                  {["mean_us", "p50_us", "p95_us", "p99_us"].map((each) => (
                    <td key={each} class="number">
                      {Number(row.timed) > 0 ? latency(Number(row[each]) / 1e6) : "–"}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {rows.length > 0 && <p class="quiet">Those that took most time in all; every one of them under Tables.</p>}
    </section>
  );
}

export function Coverage({ rows }: { rows: Row[] }) {
  const databases = rows.filter((row) => row.outcome === "covered");
  return (
    <section aria-labelledby="coverage" class="coverage">
      <h2 id="coverage">Coverage</h2>
      {databases.length === 0 && <p class="empty">No transaction has been seen yet.</p>}
      {databases.map((row) => {
        const rest = rows.filter((each) => each.database === row.database && each.outcome !== "covered");
        const share = row.recent_percent ?? row.total_percent;
        const risky = rest.reduce((sum, each) => sum + Number(each.live), 0);
        return (
          <div key={text(row.database)}>
            <p>
              <Sign tone={share === null || Number(share) >= 99 ? "good" : "wait"} /> <b>{text(row.database)}</b>{" "}
              {share === null ? "has had no transaction." : `${share} % of transactions would have survived the loss of their server.`}
              {risky > 0 && ` ${several(risky, "transaction that would not is", "transactions that would not are")} under way.`}
            </p>
            {rest.length > 0 && (
              <ul>
                {rest.map((each) => (
                  <li key={text(each.outcome)}>
                    {text(each.outcome).replaceAll("_", " ")}: {count(Number(each.total))} <small class="quiet">{text(each.meaning)}</small>
                  </li>
                ))}
              </ul>
            )}
          </div>
        );
      })}
      {rows
        .filter((row) => row.database === null)
        .slice(0, 5)
        .map((row) => (
          <p key={`${row.outcome}${row.statement}`}>
            <code>{text(row.statement)}</code>{" "}
            <small class="quiet">
              {text(row.outcome).replaceAll("_", " ")}, {several(Number(row.total), "time", "times")}
            </small>
          </p>
        ))}
    </section>
  );
}

export function Limits({ rows }: { rows: Row[] }) {
  return (
    <section aria-labelledby="limits">
      <h2 id="limits">Limits</h2>
      {rows.length === 0 ? (
        <p class="empty">Nothing is limited.</p>
      ) : (
        <div class="scroll">
          <table>
            <thead>
              <tr>
                <th scope="col">Limit</th>
                <th scope="col">Of</th>
                <th scope="col" class="number">Now</th>
                <th scope="col" class="number">At most</th>
                <th scope="col" class="number">Refused</th>
                <th scope="col">Setting</th>
              </tr>
            </thead>
            <tbody>
              {rows.map((row) => {
                const full = Number(row.most) > 0 && Number(row.current) * 10 >= Number(row.most) * 9;
                return (
                  <tr key={`${row.name} ${row.scope} ${row.setting}`} class={full ? "wait" : ""}>
                    <th scope="row">{text(row.name).replaceAll("_", " ")}</th>
                    <td>{text(row.scope)}</td>
                    {["current", "most", "refused"].map((each) => (
                      <td key={each} class="number">
                        {row[each] === null ? "–" : count(Number(row[each]))}
                      </td>
                    ))}
                    <td>
                      <small class="quiet">{text(row.setting)}</small>
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}
