// A plot of the last minutes: lines over one time axis, and what was healed as marks in it.
import { useState } from "preact/hooks";
import { clock } from "./format";
import type { Sample } from "./types";

export interface Line {
  name: string;
  kind: string; // of its look
  value: (sample: Sample) => number | null;
}

export interface Mark {
  at: number;
  tone: string;
  title: string;
}

interface Props {
  title: string;
  samples: Sample[];
  marks: Mark[];
  lines: Line[];
  print: (value: number | null) => string;
  logarithmic?: boolean;
  from: number;
  to: number;
}

const width = 600;
const height = 132;

/** 1, 2 or 5 times a power of ten, and not below the highest value. */
function roomy(highest: number): number {
  const power = Math.pow(10, Math.floor(Math.log10(Math.max(highest, 1))));
  return power * (highest <= power ? 1 : highest <= 2 * power ? 2 : highest <= 5 * power ? 5 : 10);
}

interface Scale {
  place: (value: number) => number; // 0 is the top
  ticks: number[];
}

function linear(values: number[]): Scale {
  const top = roomy(Math.max(...values, 4));
  return { place: (value) => height * (1 - value / top), ticks: top % 2 === 0 ? [top, top / 2] : [top] };
}

function decades(values: number[]): Scale {
  const low = Math.floor(Math.log10(Math.max(Math.min(...values, 1e-4), 1e-5)));
  const high = Math.max(Math.ceil(Math.log10(Math.max(...values, 1e-3))), low + 2);
  const ticks = [];
  for (let power = high; power > low; --power) ticks.push(Math.pow(10, power));
  const place = (value: number) => height * (1 - (Math.log10(Math.max(value, Math.pow(10, low))) - low) / (high - low));
  return { place, ticks };
}

/** Separate strokes where something is missing in between. */
function path(samples: Sample[], line: Line, x: (at: number) => number, scale: Scale): string {
  let text = "";
  let open = false;
  let before = 0;
  for (const sample of samples) {
    const value = line.value(sample);
    const gap = sample.at - before > 10_000;
    if (value !== null) text += `${open && !gap ? "L" : "M"}${x(sample.at).toFixed(1)} ${scale.place(value).toFixed(1)}`;
    open = value !== null;
    before = sample.at;
  }
  return text;
}

export function Plot({ title, samples, marks, lines, print, logarithmic, from, to }: Props) {
  const [hover, setHover] = useState<number | null>(null);
  const x = (at: number) => (width * (at - from)) / (to - from);
  const values = samples.flatMap((sample) => lines.map((line) => line.value(sample)).filter((value) => value !== null));
  const scale = (logarithmic ? decades : linear)(values.filter((value) => !logarithmic || value > 0));
  const wantedAt = hover === null ? null : from + hover * (to - from);
  const shown =
    wantedAt === null
      ? samples[samples.length - 1]
      : samples.reduce<Sample | undefined>(
          (best, each) => (best && Math.abs(best.at - wantedAt) <= Math.abs(each.at - wantedAt) ? best : each),
          undefined,
        );
  const point = (event: PointerEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    setHover(Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1));
  };
  return (
    <figure class="plot">
      <figcaption>
        <h3>{title}</h3>
        <span class="at">{hover !== null && shown ? clock(shown.at) : ""}</span>
        <ul>
          {lines.map((line) => (
            <li key={line.name} class={line.kind}>
              <span class="key" aria-hidden="true" /> {line.name} <b>{print(shown ? line.value(shown) : null)}</b>
            </li>
          ))}
        </ul>
      </figcaption>
      <div class="field" onPointerMove={point} onPointerLeave={() => setHover(null)}>
        <svg viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label={`${title}, the last five minutes`}>
          {scale.ticks.map((tick) => (
            <line key={tick} class="grid" x1={0} x2={width} y1={scale.place(tick)} y2={scale.place(tick)} />
          ))}
          {marks.map((mark, i) => (
            <line key={i} class={`mark ${mark.tone}`} x1={x(mark.at)} x2={x(mark.at)} y1={mark.tone === "good" ? height * 0.86 : 0} y2={height}>
              <title>{mark.title}</title>
            </line>
          ))}
          {lines.map((line) => (
            <path key={line.name} class={`line ${line.kind}`} d={path(samples, line, x, scale)} />
          ))}
          {hover !== null && shown && <line class="cursor" x1={x(shown.at)} x2={x(shown.at)} y1={0} y2={height} />}
        </svg>
        {scale.ticks.map((tick) => (
          <span key={tick} class="tick" style={{ top: `${(100 * scale.place(tick)) / height}%` }}>
            {print(tick)}
          </span>
        ))}
      </div>
      <div class="axis" aria-hidden="true">
        <span>{clock(from)}</span>
        <span>{clock((from + to) / 2)}</span>
        <span>{clock(to)}</span>
      </div>
    </figure>
  );
}
