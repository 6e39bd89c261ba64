// One program for node's three clients: it names each check it made, and ends with status 1 at the first that fails.
'use strict';
const assert = require('node:assert');
const pg = require('pg');
const Cursor = require('pg-cursor');
const postgres = require('postgres');

const settings = {
    host: process.env.PGHOST, port: +process.env.PGPORT, user: process.env.PGUSER, password: process.env.PGPASSWORD,
    database: process.env.PGDATABASE,
};
const checks = { pg: {}, 'pg-cursor': {}, postgres: {} };
const numbers = (count) => Array.from({ length: count }, (_, index) => index);

async function client(more) {
    const connection = new pg.Client({ ...settings, ...more });
    await connection.connect();
    return connection;
}

checks.pg['simple, unnamed and named queries'] = async () => {
    const connection = await client();
    assert.equal((await connection.query('SELECT 1 AS one')).rows[0].one, 1);
    for (const number of numbers(30)) {
        assert.equal((await connection.query('SELECT $1::int AS x', [number])).rows[0].x, number);
        const named = { name: 'by number', text: 'SELECT $1::int * 2 AS x', values: [number] };
        assert.equal((await connection.query(named)).rows[0].x, number * 2);
    }
    await assert.rejects(connection.query('SELECT 1/0'), { code: '22012' });
    await assert.rejects(connection.query({ name: 'bad', text: 'SELECT broken' }), { code: '42703' });
    assert.equal((await connection.query({ name: 'bad', text: 'SELECT 7 AS x' })).rows[0].x, 7);
    const several = await connection.query('SELECT 1 AS a; SELECT 2 AS b');
    assert.deepEqual(several.map((result) => result.rows[0]), [{ a: 1 }, { b: 2 }]);
    await connection.end();
};

checks.pg['start values of the session'] = async () => {
    const connection = await client({ statement_timeout: 12345, idle_in_transaction_session_timeout: 54321,
        application_name: 'node app', options: '-c search_path=pg_catalog' });
    const show = async (name) => Object.values((await connection.query(`SHOW ${name}`)).rows[0])[0];
    assert.equal(await show('statement_timeout'), '12345ms');
    assert.equal(await show('idle_in_transaction_session_timeout'), '54321ms');
    assert.equal(await show('application_name'), 'node app');
    await connection.query('SET search_path = public');
    await connection.query('RESET ALL');
    assert.equal(await show('search_path'), 'pg_catalog');
    await connection.end();
};

checks.pg['a pool of 20 with transactions'] = async () => {
    const pool = new pg.Pool({ ...settings, max: 20 });
    await pool.query('DROP TABLE IF EXISTS node_pool; CREATE TABLE node_pool (who int, n int)');
    await Promise.all(numbers(60).map(async (number) => {
        const connection = await pool.connect();
        try {
            await connection.query('BEGIN');
            await connection.query('INSERT INTO node_pool VALUES ($1, 1)', [number]);
            if (number % 3 === 0) await assert.rejects(connection.query('SELECT 1/0'), { code: '22012' });
            await connection.query(number % 3 === 0 ? 'ROLLBACK' : 'COMMIT');
        } finally { connection.release(); }
    }));
    assert.equal((await pool.query('SELECT count(*)::int AS x FROM node_pool')).rows[0].x, 40);
    await pool.end();
};

checks['a pool of 64'] = {};
checks['a pool of 64']['every connection has its own values, statements and transactions'] = async () => {
    const pool = new pg.Pool({ ...settings, max: 64 });
    await pool.query('DROP TABLE IF EXISTS node_crowd; CREATE TABLE node_crowd (who int, turn int)');
    // All are out at once: none is lent twice.
    const all = await Promise.all(numbers(64).map(() => pool.connect()));
    await Promise.all(all.map(async (connection, who) => {
        await connection.query(`SET my.own = '${who}'`);
        for (const turn of numbers(15)) {
            const named = { name: 'same name', text: `SELECT ${who} AS who, $1::int AS turn`, values: [turn] };
            assert.deepEqual((await connection.query(named)).rows, [{ who, turn }]);
            await connection.query('BEGIN');
            await connection.query('INSERT INTO node_crowd VALUES ($1, $2)', [who, turn]);
            await connection.query(turn % 3 === 0 ? 'ROLLBACK' : 'COMMIT');
        }
        assert.equal(Object.values((await connection.query('SHOW my.own')).rows[0])[0], `${who}`);
    }));
    all.forEach((connection) => connection.release());
    const count = await pool.query('SELECT count(*)::int AS rows, count(DISTINCT who)::int AS clients FROM node_crowd');
    assert.deepEqual(count.rows, [{ rows: 640, clients: 64 }]);
    await pool.end();
};

checks.pg['LISTEN and NOTIFY'] = async () => {
    const [listener, sender] = [await client(), await client()];
    const heard = new Promise((resolve) => listener.on('notification', (note) => resolve(note.payload)));
    await listener.query('LISTEN nodenews');
    await sender.query("NOTIFY nodenews, 'hello'");
    assert.equal(await heard, 'hello');
    await listener.end();
    await sender.end();
};

checks['pg-cursor']['a cursor read in pieces, one closed early'] = async () => {
    const connection = await client();
    const whole = connection.query(new Cursor('SELECT generate_series(1, $1::int) AS x', [100]));
    let seen = 0;
    for (let rows = await whole.read(30); rows.length; rows = await whole.read(30)) seen += rows.length;
    assert.equal(seen, 100);
    await whole.close();
    const early = connection.query(new Cursor('SELECT generate_series(1, 1000000) AS x'));
    assert.equal((await early.read(10)).length, 10);
    await early.close();
    const broken = connection.query(new Cursor('SELECT 1 / (5 - generate_series(1, 10)) AS x'));
    await assert.rejects(broken.read(10), { code: '22012' });
    assert.equal((await connection.query('SELECT 1 AS x')).rows[0].x, 1);
    await connection.end();
};

checks.postgres['tagged queries in a pipeline'] = async () => {
    const sql = postgres({ ...settings, max: 6, connection: { 'some.var': 'yay', application_name: 'postgres.js' } });
    const answers = await Promise.all(numbers(300).map((number) => sql`SELECT ${number}::int AS x`));
    assert.deepEqual(answers.map(([row]) => row.x), numbers(300));
    assert.equal((await sql`SELECT current_setting('some.var') AS x`)[0].x, 'yay');
    await assert.rejects(sql`SELECT 1/0`, { code: '22012' });
    await assert.rejects(sql`SELECT * FROM never_was`, { code: '42P01' });
    assert.equal((await sql.unsafe('SELECT 1 AS x; SELECT 2 AS y')).length, 2);
    await sql.end();
};

checks.postgres['transactions, savepoints, cursors'] = async () => {
    const sql = postgres({ ...settings, max: 4, onnotice: () => {} });
    await sql`DROP TABLE IF EXISTS node_postgres`;
    await sql`CREATE TABLE node_postgres (x int)`;
    await Promise.all(numbers(20).map((number) => sql.begin(async (block) => {
        await block`INSERT INTO node_postgres VALUES (${number})`;
        await block.savepoint(async (inner) => {
            await inner`INSERT INTO node_postgres VALUES (${number + 1000})`;
            throw new Error('undo');
        }).catch((error) => assert.equal(error.message, 'undo'));
    })));
    assert.equal((await sql`SELECT count(*)::int AS x, max(x) AS y FROM node_postgres`)[0].x, 20);
    let seen = 0;
    for await (const rows of sql`SELECT generate_series(1, 250) AS x`.cursor(40)) seen += rows.length;
    assert.equal(seen, 250);
    await sql.end();
};

checks.postgres['listen, notify and COPY'] = async () => {
    const sql = postgres({ ...settings, max: 3, onnotice: () => {} });
    let hear;
    const heard = new Promise((resolve) => { hear = resolve; });
    await sql.listen('postgresjs', hear);
    await sql.notify('postgresjs', 'hello');
    assert.equal(await heard, 'hello');
    await sql`DROP TABLE IF EXISTS node_copy`;
    await sql`CREATE TABLE node_copy (a int, b text)`;
    const writable = await sql`COPY node_copy FROM STDIN`.writable();
    await new Promise((resolve, reject) => {
        writable.on('error', reject).on('finish', resolve);
        for (const number of numbers(3000)) writable.write(`${number}\tx\n`);
        writable.end();
    });
    const readable = await sql`COPY node_copy TO STDOUT`.readable();
    let lines = 0;
    for await (const piece of readable) lines += piece.toString().split('\n').length - 1;
    assert.equal(lines, 3000);
    await sql.end();
};

async function main() {
    for (const [name, check] of Object.entries(checks[process.argv[2]])) {
        await check();
        console.log(`${process.argv[2]}: ${name}`);
    }
}

main().catch((error) => { console.error(error); process.exit(1); });
