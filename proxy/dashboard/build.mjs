// Joins the sources into one page: script and style inline, each allowed by its digest and nothing else.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { buildSync } from "esbuild";

const bundle = (entry) =>
  buildSync({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    charset: "utf8",
    target: ["es2021", "chrome100", "firefox100", "safari15.4"],
    format: "iife",
    jsx: "automatic",
    jsxImportSource: "preact",
    legalComments: "none",
  }).outputFiles[0].text.trim();

const digest = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

const script = bundle("src/main.tsx");
const style = bundle("src/style.css");
for (const [what, end] of [[script, "</script"], [style, "</style"]])
  if (what.toLowerCase().includes(end)) throw new Error(`${end} would end it`);

const policy = [
  "default-src 'none'",
  `script-src ${digest(script)}`,
  `style-src ${digest(style)}`,
  "connect-src 'self'",
  "img-src data:",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

const page = readFileSync("src/page.html", "utf8")
  .replace("{policy}", () => policy)
  .replace("{style}", () => style)
  .replace("{script}", () => script);
writeFileSync(process.argv[2], page);
