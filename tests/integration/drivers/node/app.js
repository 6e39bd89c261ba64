// Applications of node's clients: `node app.js pg`, `... pg-cursor` or `... postgres`.
'use strict';
const pg = require('pg');
const Cursor = require('pg-cursor');
const postgres = require('postgres');

const settings = {
    host: process.env.PGHOST, port: +process.env.PGPORT, user: process.env.PGUSER, password: process.env.PGPASSWORD,
    database: process.env.PGDATABASE,
};
const programs = { pg: {}, 'pg-cursor': {}, postgres: {} };
const numbers = (count) => Array.from({ length: count }, (_, index) => index);
const sum = (values) => values.reduce((left, right) => left + Number(right), 0);

function tell(what, ...values) {
    console.log(`${what}: ${JSON.stringify(values, (_, value) => (typeof value === 'bigint' ? `${value}n` : value))}`);
}

const FIELDS = ['severity', 'code', 'message', 'detail', 'hint', 'position', 'where', 'schema', 'schema_name', 'table',
    'table_name', 'column', 'column_name', 'constraint', 'constraint_name'];

async function failing(what, waited) {
    let error;
    try {
        await waited;
    } catch (caught) {
        error = caught;
    }
    if (!error) throw new Error(`${what} did not fail`);
    tell(what, ...FIELDS.filter((field) => error[field] !== undefined).map((field) => `${field}=${error[field]}`));
}

async function client(more) {
    const connection = new pg.Client({ ...settings, ...more });
    connection.on('error', () => {});
    await connection.connect();
    return connection;
}

const one = async (connection, text, values) => Object.values((await connection.query(text, values)).rows[0])[0];

const ERRORS = ['SELECT 1/0', 'INSERT INTO thing (id) VALUES (NULL)', 'INSERT INTO thing (n) VALUES (1000)', 'SELECT nope', 'SELEC',
    "SELECT 'x'::int", 'SELECT * FROM never_was',
    "DO $$ BEGIN RAISE EXCEPTION 'own' USING ERRCODE = 'P0042', DETAIL = 'why', HINT = 'how'; END $$"];
const THING = 'CREATE TABLE thing (id serial PRIMARY KEY, v text UNIQUE, n int CHECK (n < 1000))';

// ---- pg ------------------------------------------------------------------------------------------------

programs.pg.parameters = async () => {
    const connection = await client({ application_name: 'a node', statement_timeout: 12345, lock_timeout: 23456,
        idle_in_transaction_session_timeout: 34567, options: '-c search_path=pg_catalog -c my.own=yes' });
    for (const name of ['application_name', 'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout',
        'search_path', 'my.own', 'client_encoding', 'DateStyle', 'TimeZone']) tell(name, await one(connection, `SHOW ${name}`));
    await connection.query("SET search_path = public; SET TimeZone = 'Asia/Tokyo'");
    await connection.query('DISCARD ALL');
    tell('discarded', await one(connection, 'SHOW search_path'), await one(connection, 'SHOW TimeZone'));
    await connection.end();
    await failing('no such parameter', client({ options: '-c no_such=1' }));
    await failing('wrong password', client({ password: 'wrong' }));
    await failing('no such database', client({ database: 'never_was' }));
};

programs.pg.statements = async () => {
    const all = await Promise.all(numbers(5).map(() => client()));
    await all[0].query(THING);
    let total = 0;
    for (const turn of numbers(10)) {
        await Promise.all(all.map(async (connection, number) => {
            const named = { name: 'mine', text: `SELECT $1::int * 10 + ${number} AS x, '${number}' AS y`, values: [turn] };
            const row = (await connection.query(named)).rows[0];
            if (row.y !== String(number)) throw new Error('the row of another');
            const plain = await one(connection, 'SELECT $1::int', [turn]);
            total += row.x + plain;
        }));
    }
    tell('sum', total);
    const several = await all[0].query("SELECT 1 AS a; SELECT 'x' AS b; INSERT INTO thing (v) VALUES ('several')");
    tell('several', several.map((result) => [result.command, result.rowCount, result.rows]));
    tell('array', (await all[0].query({ text: 'SELECT 1, $1::text', values: ['x'], rowMode: 'array' })).rows);
    // Queries in flight without waiting, on one connection
    const answers = await Promise.all(numbers(200).map((number) => one(all[1], 'SELECT $1::int', [number])));
    tell('queued', sum(answers));
    await failing('named', all[0].query({ name: 'bad', text: 'SELECT broken' }));
    tell('repaired', (await all[0].query({ name: 'bad', text: 'SELECT 7 AS x' })).rows);
    await all[1].query({ name: 'star', text: 'SELECT * FROM thing' });
    await all[2].query('ALTER TABLE thing ADD COLUMN more int');
    await all[1].query({ name: 'star', text: 'SELECT * FROM thing' }).catch((error) => {
        if (!error.message.includes('cached plan')) throw error;
    });
    tell('still', await one(all[1], 'SELECT count(*) FROM thing'));
    await Promise.all(all.map((connection) => connection.end()));
};

programs.pg.blocks = async () => {
    const connection = await client();
    const notices = [];
    connection.on('notice', (note) => notices.push([note.severity, note.message, note.hint]));
    for (const sql of ERRORS) {
        await connection.query('BEGIN');
        await failing(sql, connection.query(sql));
        await failing('then', connection.query('SELECT $1::int', [1]));
        await connection.query('ROLLBACK');
        await failing(sql, connection.query({ text: sql, values: [] }));
    }
    await connection.query('BEGIN');
    await connection.query("INSERT INTO thing (v) VALUES ($1)", ['outer']);
    await connection.query('SAVEPOINT one');
    await failing('inner', connection.query("INSERT INTO thing (v) VALUES ($1)", ['outer']));
    await connection.query('ROLLBACK TO one');
    await connection.query("DO $$ BEGIN RAISE NOTICE 'noted'; RAISE WARNING 'warned' USING HINT = 'a hint'; END $$");
    await connection.query('COMMIT');
    tell('kept', await one(connection, "SELECT count(*) FROM thing WHERE v = 'outer'"), notices);
    const values = [null, true, 5, '1152921504606846976', 1.5, 'é漢字\u{1F600} \'\\', [1, 2, null], { a: [1, null] }];
    const types = ['text', 'bool', 'int', 'int8', 'float8', 'text', 'int[]', 'jsonb'];
    for (const number of numbers(values.length)) {
        tell(types[number], await one(connection, `SELECT $1::${types[number]}`, [values[number]]));
    }
    tell('bytes', (await one(connection, 'SELECT $1::bytea', [Buffer.from([0, 255, 39])])).toString('hex'));
    tell('date', await one(connection, 'SELECT $1::timestamptz', [new Date(Date.UTC(2024, 6, 1))]));
    tell('large', (await one(connection, 'SELECT $1::text', ['x'.repeat(3e6)])).length);
    await connection.end();
};

programs.pg['pools and ends'] = async () => {
    const pool = new pg.Pool({ ...settings, max: 24 });
    pool.on('error', () => {});
    await pool.query('CREATE TABLE crowd (who int, n int)');
    await Promise.all(numbers(60).map(async (number) => {
        const connection = await pool.connect();
        try {
            await connection.query('BEGIN');
            await connection.query('INSERT INTO crowd VALUES ($1, $2)', [number, 1]);
            if (number % 3 === 0) await connection.query('SELECT 1/0').catch(() => {});
            await connection.query(number % 3 === 0 ? 'ROLLBACK' : 'COMMIT');
        } finally { connection.release(); }
    }));
    tell('all', (await pool.query('SELECT count(*), sum(who) FROM crowd')).rows);
    await pool.end();
    const connection = await client({ statement_timeout: 40 });
    await failing('timeout', connection.query('SELECT pg_sleep(30)'));
    tell('still', await one(connection, 'SELECT 1'));
    await failing('own end', connection.query('SELECT pg_terminate_backend(pg_backend_pid())'));
    const impatient = await client({ query_timeout: 50 });
    await failing('query timeout', impatient.query('SELECT pg_sleep(1)'));
    await impatient.end();
    const [listener, sender] = [await client(), await client()];
    const heard = [];
    const all = new Promise((resolve) => listener.on('notification', (note) => {
        heard.push([note.channel, note.payload]);
        if (heard.length === 5) resolve();
    }));
    await listener.query('LISTEN news');
    for (const number of numbers(5)) await sender.query(`NOTIFY news, '${number}'`);
    await all;
    tell('heard', heard);
    await Promise.all([listener.end(), sender.end()]);
};

// ---- pg-cursor -----------------------------------------------------------------------------------------

programs['pg-cursor'].cursors = async () => {
    const connection = await client();
    for (const size of [1, 7, 100, 1000]) {
        const cursor = connection.query(new Cursor('SELECT i AS x FROM generate_series(1, $1::int) i', [300]));
        let seen = 0;
        let reads = 0;
        for (let rows = await cursor.read(size); rows.length; rows = await cursor.read(size)) {
            seen += sum(rows.map((row) => row.x));
            reads++;
        }
        tell('read', size, seen, reads);
        await cursor.close();
    }
    const arrays = connection.query(new Cursor('SELECT 1, $1::text', ['x'], { rowMode: 'array' }));
    tell('arrays', await arrays.read(5), await arrays.read(5));
    await arrays.close();
    const early = connection.query(new Cursor('SELECT generate_series(1, 1000000) AS x'));
    tell('early', (await early.read(10)).length);
    await early.close();
    const broken = connection.query(new Cursor('SELECT 10 / (5 - generate_series(1, 10)) AS x'));
    await failing('broken', broken.read(10));
    await failing('unparsed', connection.query(new Cursor('SELECT nope')).read(1));
    tell('still', await one(connection, 'SELECT 5'));
    await connection.query('BEGIN');
    await connection.query('CREATE TABLE through (a int)');
    const inside = connection.query(new Cursor('INSERT INTO through SELECT generate_series(1, 50) RETURNING a'));
    tell('returned', (await inside.read(20)).length, (await inside.read(100)).length, (await inside.read(100)).length);
    await inside.close();
    await connection.query('COMMIT');
    tell('kept', await one(connection, 'SELECT count(*) FROM through'));
    await connection.end();
};

programs['pg-cursor']['many at once'] = async () => {
    const pool = new pg.Pool({ ...settings, max: 12 });
    const totals = await Promise.all(numbers(30).map(async (number) => {
        const connection = await pool.connect();
        const cursor = connection.query(new Cursor(`SELECT ${number} + generate_series(1, 200) AS x`));
        let seen = 0;
        for (let rows = await cursor.read(30); rows.length; rows = await cursor.read(30)) seen += sum(rows.map((row) => row.x));
        await cursor.close();
        connection.release();
        return seen;
    }));
    tell('totals', totals);
    await pool.end();
    for (const number of numbers(8)) {
        const connection = await client();
        const cursor = connection.query(new Cursor('SELECT generate_series(1, 100) AS x'));
        tell('left', (await cursor.read(number)).length);
        connection.connection.stream.destroy(); // gone in the middle of a cursor
    }
};

// ---- postgres ------------------------------------------------------------------------------------------

const quiet = { ...settings, onnotice: () => {} };

programs.postgres.parameters = async () => {
    const sql = postgres({ ...quiet, max: 2, connection: { application_name: 'postgres.js app', 'my.own': 'yes', search_path: 'pg_catalog',
        TimeZone: 'Asia/Tokyo' } });
    for (const name of ['application_name', 'my.own', 'search_path', 'TimeZone', 'client_encoding']) {
        tell(name, (await sql`SELECT current_setting(${name}) AS x`)[0].x);
    }
    tell('reported', sql.parameters.TimeZone, sql.parameters.application_name);
    await sql.end();
    await failing('no such parameter', postgres({ ...quiet, connection: { no_such: 1 } })`SELECT 1`);
    await failing('wrong password', postgres({ ...quiet, password: 'wrong' })`SELECT 1`);
    await failing('no such database', postgres({ ...quiet, database: 'never_was' })`SELECT 1`);
};

programs.postgres.statements = async () => {
    const notices = [];
    const sql = postgres({ ...settings, max: 6, onnotice: (note) => notices.push([note.severity, note.message, note.hint]) });
    await sql.unsafe(THING);
    const answers = await Promise.all(numbers(400).map((number) => sql`SELECT ${number}::int AS x, ${'t' + number} AS y`));
    tell('pipelined', sum(answers.map(([row]) => row.x)), answers[399][0].y);
    tell('inserted', await sql`INSERT INTO thing ${sql(numbers(20).map((n) => ({ v: `v${n}`, n })))} RETURNING v, n`.then((rows) => rows.length));
    tell('where', await sql`SELECT v FROM thing WHERE n = ANY(${[3, 4]}) ORDER BY n`);
    tell('described', (await sql`SELECT $1::int AS a, 'x' AS b`.describe()).types);
    tell('unsafe', await sql.unsafe("SELECT 1 AS a; SELECT 'x' AS b"));
    tell('simple', await sql`SELECT 1 AS a`.simple());
    for (const text of ERRORS) await failing(text, sql.unsafe(text));
    for (const text of ERRORS) await failing(text, sql.unsafe(text, [], { prepare: true }));
    const rows = await Promise.allSettled(numbers(60).map((number) => sql`SELECT 10 / (${number % 7}::int - 3) AS x`));
    tell('settled', rows.map((row) => (row.status === 'fulfilled' ? row.value[0].x : row.reason.code)).join(' '));
    await sql.unsafe("DO $$ BEGIN RAISE NOTICE 'noted'; RAISE WARNING 'warned' USING HINT = 'a hint'; END $$");
    tell('notices', notices);
    tell('before', (await sql`SELECT * FROM thing LIMIT 1`).columns.length);
    await sql`ALTER TABLE thing ADD COLUMN more int`;
    for (const _ of numbers(8)) {
        await sql`SELECT * FROM thing LIMIT 1`.catch((error) => {
            if (!error.message.includes('cached plan')) throw error;
        });
    }
    tell('types', await sql`SELECT ${true}::bool AS a, ${12n}::int8 AS b, ${1.5}::float8 AS c, ${sql.json({ a: [1] })}::jsonb AS d,
        ${new Date(Date.UTC(2024, 6, 1))}::timestamptz AS e, ${[1, 2]}::int[] AS f, ${null}::text AS g, ${Buffer.from([0, 255])}::bytea AS h`);
    tell('large', (await sql`SELECT ${'x'.repeat(3e6)}::text AS x`)[0].x.length);
    await sql.end();
};

programs.postgres.blocks = async () => {
    const sql = postgres({ ...quiet, max: 10 });
    await Promise.all(numbers(30).map((number) => sql.begin(async (block) => {
        await block`INSERT INTO thing (n) VALUES (${number})`;
        await block.savepoint(async (inner) => {
            await inner`INSERT INTO thing (n) VALUES (${number + 1000})`;
        }).catch(() => {});
        if (number % 5 === 0) throw new Error('undo');
    }).catch(() => {})));
    tell('kept', await sql`SELECT count(*), sum(n) FROM thing WHERE v IS NULL`);
    const pipelined = await sql.begin((block) => numbers(20).map((number) => block`SELECT ${number}::int AS x`));
    tell('a block at once', sum(pipelined.map(([row]) => row.x)));
    tell('level', await sql.begin('isolation level serializable read only', (block) => block`SHOW transaction_isolation`));
    const reserved = await sql.reserve();
    await reserved`CREATE TEMP TABLE mine (a int)`;
    await reserved`INSERT INTO mine VALUES (1)`;
    tell('reserved', await reserved`SELECT a FROM mine`);
    reserved.release();
    let seen = 0;
    for await (const rows of sql`SELECT generate_series(1, 250) AS x`.cursor(40)) seen += sum(rows.map((row) => row.x));
    await sql`SELECT generate_series(1, 1000) AS x`.cursor(10, (rows) => (rows[0].x > 50 ? sql.CLOSE : undefined));
    await sql`SELECT generate_series(1, 1000) AS x`.forEach((row) => { seen += row.x; });
    tell('cursors', seen);
    const sleeping = sql`SELECT pg_sleep(46)`;
    const watching = (async () => {
        while (!(await sql`SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(46)%' AND wait_event = 'PgSleep'
            AND datname = current_database()`).length);
        sleeping.cancel();
    })();
    await failing('cancelled', sleeping);
    await watching;
    tell('still', await sql`SELECT 1 AS x`);
    await sql.end();
};

programs.postgres['listen and COPY'] = async () => {
    const sql = postgres({ ...quiet, max: 4 });
    const heard = [];
    let enough;
    const all = new Promise((resolve) => { enough = resolve; });
    await sql.listen('js_news', (payload) => { heard.push(payload); if (heard.length === 5) enough(); });
    for (const number of numbers(5)) await sql.notify('js_news', String(number));
    await all;
    tell('heard', heard);
    await sql`CREATE TABLE copied (a int, b text)`;
    const writable = await sql`COPY copied FROM STDIN`.writable();
    await new Promise((resolve, reject) => {
        writable.on('error', reject).on('finish', resolve);
        for (const number of numbers(300)) writable.write(`${number}\tline\n`);
        writable.end();
    });
    const readable = await sql`COPY copied TO STDOUT`.readable();
    let lines = 0;
    for await (const piece of readable) lines += piece.toString().split('\n').length - 1;
    tell('copied', lines, await sql`SELECT count(*) FROM copied`);
    await sql.end();
};

programs.postgres.subscribe = async () => {
    const sql = postgres({ ...quiet, max: 2 });
    await sql`CREATE TABLE followed (id int PRIMARY KEY, v text)`;
    await sql`ALTER TABLE followed REPLICA IDENTITY FULL`;
    await sql.unsafe('CREATE PUBLICATION alltables FOR TABLE followed');
    const streamer = postgres({ ...quiet, user: 'streamer', password: process.env.STREAMER_PASSWORD });
    const events = [];
    let enough;
    const all = new Promise((resolve) => { enough = resolve; });
    const { unsubscribe } = await streamer.subscribe('*', (row, { command, relation, old }) => {
        events.push([command, relation.table, row, old]);
        if (row && row.v === 'last') enough();
    });
    await sql`INSERT INTO followed VALUES (1, 'one'), (2, 'two')`;
    await sql`UPDATE followed SET v = 'deux' WHERE id = 2`;
    await sql`DELETE FROM followed WHERE id = 1`;
    await sql.begin(async (block) => {
        await block`INSERT INTO followed VALUES (3, ${'x'.repeat(100000)})`;
        await block`INSERT INTO followed VALUES (4, 'last')`;
    });
    await all;
    for (const [command, table, row, old] of events) tell('event', command, table, row && row.id, row && row.v && row.v.slice(0, 10), old);
    await unsubscribe();
    await streamer.end();
    await sql.end();
};

programs.postgres.ends = async () => {
    const sql = postgres({ ...quiet, max: 1 });
    // Whether the FATAL or the end of the stream is met first, and by which query, is a matter of luck with this client.
    let again;
    await sql`SELECT pg_terminate_backend(pg_backend_pid())`.catch(() => {});
    while (!again) again = await sql`SELECT 1 AS x`.catch(() => undefined);
    tell('again', again[again.length - 1]);
    await sql.end();
    const many = numbers(15).map(() => postgres({ ...quiet, max: 1 }));
    tell('many', sum(await Promise.all(many.map(async (each, number) => (await each`SELECT ${number}::int AS x`)[0].x))));
    await Promise.all(many.map((each) => each.end()));
};

async function main() {
    const [, , library, ...chosen] = process.argv;
    for (const [name, section] of Object.entries(programs[library])) {
        if (chosen.length && !chosen.includes(name)) continue;
        console.log(`-- ${name}`);
        await section();
    }
    console.log('-- the end');
}

main().catch((error) => { console.error(error); process.exit(1); });
