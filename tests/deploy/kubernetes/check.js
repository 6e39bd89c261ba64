// Reads YAML documents of Kubernetes from the files named and checks each twice against models made from the
// Kubernetes OpenAPI schema (and the Prometheus operator's): values by the generated validators, names of fields by
// the TypeScript compiler, which refuses what no interface declares. Prints one line a document; says at the end
// how many passed and failed.
"use strict";
const fs = require("fs");
const path = require("path");
const yaml = require("js-yaml");
const ts = require("typescript");

// Where in the packages a kind is: apps/v1 is a folder of kubernetes-models, the core's v1 too.
function moduleOf(document) {
    const base = document.apiVersion.startsWith("monitoring.coreos.com/")
        ? "@kubernetes-models/prometheus-operator"
        : "kubernetes-models";
    return `${base}/${document.apiVersion}/${document.kind}`;
}

function checkValues(document) {
    const model = require(moduleOf(document))[document.kind];
    new model(document).validate();
}

// One file with a typed literal for each document: a field that no interface has is a type error there.
function checkNames(documents) {
    const file = path.join(__dirname, "documents.ts");
    const lines = documents.map(({ document }, number) =>
        `import { I${document.kind} as K${number} } from "${moduleOf(document)}";` +
        ` export const d${number}: K${number} = ${JSON.stringify(document)};`);
    const options = { noEmit: true, strict: true, skipLibCheck: true, types: [],
                      module: ts.ModuleKind.Node16, moduleResolution: ts.ModuleResolutionKind.Node16,
                      target: ts.ScriptTarget.ES2020 };
    const host = ts.createCompilerHost(options);
    const read = host.readFile, exists = host.fileExists, source = host.getSourceFile;
    host.readFile = (name) => (name === file ? lines.join("\n") : read(name));
    host.fileExists = (name) => name === file || exists(name);
    host.getSourceFile = (name, version, ...rest) =>
        name === file ? ts.createSourceFile(name, lines.join("\n"), version) : source(name, version, ...rest);
    const problems = new Map();
    for (const found of ts.getPreEmitDiagnostics(ts.createProgram([file], options, host))) {
        const line = found.file ? found.file.getLineAndCharacterOfPosition(found.start).line : 0;
        problems.set(line, ts.flattenDiagnosticMessageText(found.messageText, " "));
    }
    return problems;
}

const documents = [];
for (const file of process.argv.slice(2)) {
    for (const document of yaml.loadAll(fs.readFileSync(file, "utf8"))) {
        if (document) documents.push({ file, document });
    }
}
const names = checkNames(documents);
let failed = 0;
documents.forEach(({ file, document }, number) => {
    let problem = names.get(number);
    try {
        checkValues(document);
    } catch (error) {
        problem = error.message;
    }
    if (problem) failed += 1;
    console.log(`${problem ? "FAIL" : "ok  "} ${file}: ${document.kind} ${document.metadata.name}${problem ? ": " + problem : ""}`);
});
console.log(`${documents.length - failed} documents passed, ${failed} failed`);
process.exit(failed || documents.length === 0 ? 1 : 0);
