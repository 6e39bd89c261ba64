// Numbers and times as people read them.

export function span(ms: number): string {
  if (!(ms >= 0)) return "–";
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1_000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} days ${hours % 24} h`;
}

export function latency(seconds: number | null): string {
  if (seconds === null) return "–";
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 0.01) return `${(seconds * 1e3).toFixed(1)} ms`;
  if (seconds < 1) return `${Math.round(seconds * 1e3)} ms`;
  return `${seconds.toFixed(1)} s`;
}

export function count(value: number | null): string {
  if (value === null) return "–";
  if (value > 0 && value < 10) return value.toFixed(1).replace(/\.0$/, "");
  if (value < 100_000) return Math.round(value).toLocaleString("en").replace(/,/g, "\u202f");
  return `${(value / 1_000_000).toFixed(1)} M`;
}

const two = (value: number) => String(value).padStart(2, "0");

export function clock(ms: number, fine = false): string {
  const at = new Date(ms);
  const text = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return fine ? `${text}.${String(at.getMilliseconds()).padStart(3, "0")}` : text;
}

/** With the day where it is not today's. */
export function moment(ms: number, now: number): string {
  const at = new Date(ms);
  if (at.toDateString() === new Date(now).toDateString()) return clock(ms);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock(ms)}`;
}

export const several = (number: number, one: string, more: string) => `${count(number)} ${number === 1 ? one : more}`;
