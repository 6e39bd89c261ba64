// Logs in as each object of the JSON array in argv[2] says and says how that went, as Login.java does.
const fs = require("fs");
const { Client } = require("pg");

async function attempt({ name, tls, ...options }) {
  if (tls) {
    const read = (path) => path && fs.readFileSync(path);
    options.ssl = { ca: read(tls.ca), cert: read(tls.cert), key: read(tls.key), servername: "localhost" };
    options.sslnegotiation = tls.negotiation;
    options.enableChannelBinding = true;
  }
  const client = new Client(options);
  client.on("error", () => {});
  try {
    await client.connect();
    const { rows } = await client.query("SELECT 40 + 2 AS answer");
    await client.end();
    return rows[0].answer === 42 ? "ok" : "wrong rows";
  } catch (error) {
    client.end().catch(() => {});
    return `${error.code} ${error.message}`;
  }
}

(async () => {
  for (const one of JSON.parse(process.argv[2])) console.log(`${one.name}\t${await attempt(one)}`);
  process.exit(0);
})();
