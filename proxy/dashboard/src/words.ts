// What the ledger says in words of its own, in sentences. Words that are not known here are shown as they are.
import { several, span } from "./format";
import type { Act } from "./types";

export type Tone = "bad" | "wait" | "good" | "note";

export interface Story {
  tone: Tone;
  concerns: "servers" | "clients";
  title: string;
  why: string;
}

const elections: Record<string, string> = {
  kept: "the same as before",
  only_claimant: "it is the one server that says it is a primary",
  newer_timeline: "it was promoted",
  present_is_down: "the one before is gone",
  split: "two servers claim to be primary on one timeline; the present one is kept",
  none_claims: "no server that can be reached says that it is a primary",
  all_fenced: "there are only primaries of an older timeline, or of another cluster",
};

const losses: Record<string, string> = {
  not_executed: "the server said that it did nothing of it",
  read_only: "it writes nothing, and nothing of its answer had been shown",
  nothing_sent: "nothing of it had reached the server",
  retries_exhausted: "it was sent again often enough",
  already_shown: "a part of the answer had been shown",
  not_recorded: "it is too long to be sent again",
  block_lost: "its transaction was gone with the server",
  write_in_flight: "a write was under way, and nobody can know whether it was done",
  commit_in_flight: "a commit was under way, and nobody can know whether it was done",
  pinned: "the session's own state was lost with the server",
  own_wish: "its own statement may have ended the server's session",
  inside_message: "it was in the middle of a message",
};

const outcomes: Record<string, [Tone, string]> = {
  sent_again: ["good", "A server was lost under a client: its statement was sent again"],
  replayed: ["good", "A server was lost in a transaction: it is run again on the next one"],
  block_failed: ["bad", "A server was lost in a transaction: the client was told to begin it again (40003)"],
  request_failed: ["bad", "A server was lost under a client: it was told an error"],
  outcome_unknown: ["bad", "A server was lost in a write: the client was told that its outcome is unknown (08007)"],
  session_ended: ["bad", "A server was lost with a session's state: the client was disconnected"],
  cut: ["bad", "A server was lost in mid-answer: the client was disconnected"],
};

const breakers: Record<string, [Tone, string]> = {
  open: ["bad", "is spared: its breaker is open"],
  half_open: ["wait", "is tried with a few logins: its breaker is half open"],
  closed: ["good", "is trusted again: its breaker is closed"],
};

const plain = (words: string) => words.replaceAll("_", " ");
const story = (tone: Tone, concerns: Story["concerns"], title: string, why = ""): Story => ({ tone, concerns, title, why });

export const electionWords = (reason: string) => elections[reason] ?? plain(reason);
const whose = (act: Act) => (act.user || act.database ? ` of ${act.user}@${act.database}` : "");

function hold(act: Act): Story {
  if (act.outcome === "begun") return story("wait", "clients", `Requests${whose(act)} are held: they wait for a server`);
  if (act.outcome === "ended") return story("good", "clients", `Servers take requests${whose(act)} again, after ${span(act.took_ms)}`);
  const bad = act.cause.includes("gave up");
  const held = several(act.count, "held request", "held requests");
  return story(bad ? "bad" : "good", "clients", `${held}${whose(act)} went on, after ${span(act.took_ms)}`);
}

export function tell(act: Act): Story {
  switch (act.kind) {
    case "primary":
      if (act.outcome === "lost") return story("bad", "servers", "There is no primary", electionWords(act.reason));
      return story("good", "servers", `${act.server} is the primary`, electionWords(act.reason));
    case "server":
      if (act.outcome === "down") return story("bad", "servers", `${act.server} is down`);
      if (act.outcome === "fenced") return story("bad", "servers", `${act.server} is fenced: it gets no requests as a primary`);
      if (act.outcome === "standby") return story("good", "servers", `${act.server} is a standby again`);
      return story("good", "servers", `${act.server} is ${act.outcome === "up" ? "up again" : plain(act.outcome)}`);
    case "hold":
      return hold(act);
    case "settings":
      if (act.outcome === "taken") return story("note", "servers", "Settings were loaded again");
      return story("bad", "servers", "Settings were not taken: nothing has changed");
    case "ban":
      if (act.outcome === "banned") return story("wait", "servers", `${act.server} is banned: no new request goes to it`);
      return story("good", "servers", `${act.server} may be used again`);
    case "alert":
      return story(act.outcome === "over" ? "good" : "bad", "servers", act.cause, act.outcome === "over" ? "over" : act.reason);
    case "breaker": {
      const [tone, words] = breakers[act.outcome] ?? ["note", `: breaker ${plain(act.outcome)}`];
      return story(tone, "servers", `${act.server} ${words}`, plain(act.reason));
    }
    case "server_lost": {
      const [tone, words] = outcomes[act.outcome] ?? ["note", `A server was lost under a client: ${plain(act.outcome)}`];
      return story(tone, "clients", words, losses[act.reason] ?? plain(act.reason));
    }
    case "replay":
      if (act.outcome === "continued") return story("good", "clients", `A transaction went on where it was, ${span(act.took_ms)} after the loss`);
      return story("bad", "clients", `A transaction could not be run again: ${plain(act.outcome)}`, plain(act.reason));
    case "request_done":
      return story("good", "clients", `What was sent again has been answered, ${span(act.took_ms)} after the loss`);
    case "plan_renewed":
      if (act.outcome === "renewed") return story("good", "clients", "A prepared statement was prepared anew");
      return story("note", "clients", `A prepared statement met a changed table: ${plain(act.outcome)}`);
    default:
      return story("note", "clients", `${plain(act.kind)}: ${plain(act.outcome)}`, plain(act.reason));
  }
}

/** Whether the application was told of it. */
export const wasTold = (act: Act) =>
  (act.kind === "server_lost" && tell(act).tone === "bad") || (act.kind === "hold" && act.cause.includes("gave up"));

export interface Group {
  act: Act; // the first of them
  last: Act;
  story: Story;
  times: number;
}

const groupWithin = 2_000; // ms

/** Acts that are alike and came together are told once; the latest first. */
export function groups(acts: Act[]): Group[] {
  const all: Group[] = [];
  for (const act of acts) {
    const told = tell(act);
    const before = all.slice(-8).find((each) => {
      const close = Date.parse(act.at) - Date.parse(each.last.at) <= groupWithin;
      const alike = act.kind === "server_lost" || act.kind === "request_done" || act.kind === "plan_renewed";
      const same = each.act.kind === act.kind && each.act.outcome === act.outcome && each.act.reason === act.reason;
      return alike && close && same && each.act.cause === act.cause && each.act.server === act.server;
    });
    if (before) {
      before.times += 1;
      before.last = act;
    } else {
      all.push({ act, last: act, story: told, times: 1 });
    }
  }
  return all.reverse();
}
