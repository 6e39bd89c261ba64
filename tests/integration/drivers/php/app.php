<?php
// An application of PDO's pgsql driver: prepared on the server and emulated, cursors, COPY, large objects, notifications.

declare(strict_types=1);

function tell(string $what, ...$values): void
{
    echo "$what: ", json_encode($values, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES), "\n";
}

function connection(string $more = '', array $options = [], ?string $password = null): PDO
{
    $words = sprintf('pgsql:host=%s;port=%s;dbname=%s;%s', getenv('PGHOST'), getenv('PGPORT'), getenv('PGDATABASE'), $more);
    return new PDO($words, getenv('PGUSER'), $password ?? getenv('PGPASSWORD'), $options + [
        PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_NUM]);
}

function failing(string $what, callable $action): void
{
    try {
        $action();
    } catch (PDOException $error) {
        // PDO numbers its statements by address: the names differ between two runs.
        $message = preg_replace('/pdo_stmt_[0-9a-f]+/', 'pdo_stmt', (string) ($error->errorInfo[2] ?? $error->getMessage()));
        tell($what, $error->errorInfo[0] ?? $error->getCode(), preg_replace('/^.*failed: /s', '', $message));
        return;
    }
    throw new LogicException("$what did not fail");
}

function one(PDO $pdo, string $sql, array $values = [])
{
    $statement = $pdo->prepare($sql);
    $statement->execute($values);
    return $statement->fetchColumn();
}

function parameters(): void
{
    $pdo = connection("application_name='a php';options='-c search_path=pg_catalog -c my.own=yes'");
    foreach (['application_name', 'search_path', 'my.own', 'client_encoding', 'DateStyle', 'TimeZone'] as $name) {
        tell($name, one($pdo, "SHOW $name"));
    }
    tell('attributes', $pdo->getAttribute(PDO::ATTR_DRIVER_NAME), $pdo->getAttribute(PDO::ATTR_CLIENT_VERSION) !== '');
    $pdo->exec("SET search_path = public; SET TimeZone = 'Asia/Tokyo'");
    tell('changed', one($pdo, "SELECT '2024-07-01 00:00+00'::timestamptz"));
    $pdo->exec('RESET ALL');
    tell('reset', one($pdo, 'SHOW search_path'), one($pdo, 'SHOW TimeZone'));
    failing('no such parameter', fn () => connection("options='-c no_such=1'"));
    failing('wrong password', fn () => connection('', [], 'wrong'));
    failing('no such database', fn () => connection('dbname=never_was'));
}

function statements(): void
{
    $all = [];
    foreach ([[], [PDO::ATTR_EMULATE_PREPARES => true], [PDO::PGSQL_ATTR_DISABLE_PREPARES => true], [], []] as $options) {
        $all[] = connection('', $options);
    }
    $all[0]->exec('CREATE TABLE ph (id serial PRIMARY KEY, v text UNIQUE, n int CHECK (n < 1000))');
    $sum = 0;
    for ($turn = 0; $turn < 8; $turn++) {
        foreach ($all as $number => $pdo) {
            $statement = $pdo->prepare("SELECT CAST(:a AS int) * 10 + $number, CAST(:b AS text)");
            $statement->execute(['a' => $turn, 'b' => "t$number"]);
            [$value, $word] = $statement->fetch();
            if ($word !== "t$number") {
                throw new LogicException("another's row");
            }
            $sum += $value + one($pdo, 'SELECT CAST(? AS int)', [$turn]);
        }
    }
    tell('sum', $sum);
    $pdo = $all[0];
    $pdo->beginTransaction();
    $insert = $pdo->prepare('INSERT INTO ph (v, n) VALUES (?, ?) RETURNING v');
    for ($number = 0; $number < 50; $number++) {
        $insert->execute(["v$number", $number]);
    }
    tell('returned', $insert->fetchColumn(), $insert->rowCount(), $pdo->lastInsertId('ph_id_seq') > 0);
    $pdo->commit();
    tell('count', $pdo->query('SELECT count(*), sum(n) FROM ph')->fetch());
    $star = $pdo->prepare('SELECT * FROM ph LIMIT 1');
    $star->execute();
    tell('columns', $star->columnCount(), $star->getColumnMeta(1)['native_type']);
    $star->closeCursor();
    $all[1]->exec('ALTER TABLE ph ADD COLUMN more int');
    try {
        $star->execute();
    } catch (PDOException $error) {
        if (!str_contains($error->getMessage(), 'cached plan')) {
            throw $error;
        }
    }
    $star = null;
    tell('changed', one($all[3], 'SELECT count(*) FROM ph'));
}

function blocks(): void
{
    $pdo = connection();
    $texts = ['SELECT 1/0', 'INSERT INTO ph (id) VALUES (NULL)', 'INSERT INTO ph (n) VALUES (1000)', 'SELECT nope', 'SELEC',
        "INSERT INTO ph (v) VALUES ('v1')", "SELECT 'x'::int", 'SELECT * FROM never_was',
        "DO $$ BEGIN RAISE EXCEPTION 'own' USING ERRCODE = 'P0042', DETAIL = 'why', HINT = 'how'; END $$"];
    foreach ($texts as $sql) {
        $pdo->beginTransaction();
        failing($sql, fn () => $pdo->exec($sql));
        failing('then', fn () => one($pdo, 'SELECT 1'));
        tell('block', $pdo->inTransaction());
        $pdo->rollBack();
        failing('prepared', fn () => one($pdo, $sql));
    }
    $pdo->beginTransaction();
    one($pdo, "INSERT INTO ph (v) VALUES ('outer') RETURNING 1");
    $pdo->exec('SAVEPOINT one');
    failing('inner', fn () => one($pdo, "INSERT INTO ph (v) VALUES ('outer')"));
    $pdo->exec('ROLLBACK TO one');
    $pdo->commit();
    tell('kept', one($pdo, "SELECT count(*) FROM ph WHERE v = 'outer'"));
    failing('half a query', fn () => $pdo->exec("INSERT INTO ph (v) VALUES ('half'); SELECT 1/0"));
    tell('none', one($pdo, "SELECT count(*) FROM ph WHERE v = 'half'"), $pdo->inTransaction());
}

function cursors(): void
{
    $pdo = connection();
    $pdo->beginTransaction();
    $scrolling = $pdo->prepare('SELECT generate_series(1, 100)', [PDO::ATTR_CURSOR => PDO::CURSOR_SCROLL]);
    $scrolling->execute();
    tell('scrolled', $scrolling->fetch(PDO::FETCH_NUM, PDO::FETCH_ORI_ABS, 50), $scrolling->fetch(PDO::FETCH_NUM,
        PDO::FETCH_ORI_PRIOR), $scrolling->fetch(PDO::FETCH_NUM, PDO::FETCH_ORI_LAST));
    $scrolling = null;
    $pdo->exec('DECLARE c CURSOR FOR SELECT generate_series(1, 100)');
    $sum = 0;
    while ($rows = $pdo->query('FETCH 30 FROM c')->fetchAll()) {
        $sum += array_sum(array_column($rows, 0));
    }
    tell('sum', $sum);
    $pdo->exec('DECLARE held CURSOR WITH HOLD FOR SELECT generate_series(1, 10)');
    $pdo->commit();
    tell('held', $pdo->query('FETCH 4 FROM held')->fetchAll(PDO::FETCH_COLUMN));
    tell('still', $pdo->query('FETCH 4 FROM held')->fetchAll(PDO::FETCH_COLUMN));
    $pdo->exec('CLOSE held');
    failing('closed', fn () => $pdo->query('FETCH 4 FROM held'));
}

function copying(): void
{
    $pdo = connection();
    $pdo->exec('CREATE TABLE phcopy (a int, b text)');
    tell('in', $pdo->pgsqlCopyFromArray('phcopy', array_map(fn ($n) => "$n\tline $n", range(1, 20000))));
    tell('out', count($pdo->pgsqlCopyToArray('phcopy')));
    failing('bad row', fn () => $pdo->pgsqlCopyFromArray('phcopy', array_merge(["x\tbad"], array_fill(0, 50000, "1\tgood"))));
    failing('no such table', fn () => $pdo->pgsqlCopyFromArray('never_was', ["1\tx"]));
    tell('kept', one($pdo, 'SELECT count(*) FROM phcopy'));
}

function types(): void
{
    $pdo = connection();
    foreach ([['int8', 2 ** 60], ['numeric', '-1.2300'], ['text', "é漢字😀 '\\"], ['date', '0001-01-01'], ['interval', '1 mon -3 days'],
        ['timestamptz', '2024-07-01 12:00:00.123456+03'], ['jsonb', '{"a": [1, null]}'], ['text', null], ['int[]', '{1,NULL,3}']
    ] as [$type, $value]) {
        tell($type, one($pdo, "SELECT CAST(? AS $type)", [$value]));
    }
    tell('row', $pdo->query("SELECT 1, 2.5::float8, true, NULL, 'x'::char(3)")->fetch());
    $statement = $pdo->prepare('SELECT CAST(? AS bytea)');
    $bytes = "\x00\xff'\\";
    $statement->bindParam(1, $bytes, PDO::PARAM_LOB);
    $statement->execute();
    tell('bytes', bin2hex(stream_get_contents($statement->fetchColumn())));
    tell('large', strlen(one($pdo, 'SELECT CAST(? AS text)', [str_repeat('x', 3_000_000)])));
    $pdo->beginTransaction();
    $number = $pdo->pgsqlLOBCreate();
    $stream = $pdo->pgsqlLOBOpen($number, 'w');
    fwrite($stream, str_repeat('large ', 20000));
    fclose($stream);
    $pdo->commit();
    $pdo->beginTransaction();
    tell('large object', strlen(stream_get_contents($pdo->pgsqlLOBOpen($number, 'r'))));
    tell('unlinked', $pdo->pgsqlLOBUnlink($number));
    $pdo->commit();
}

function notifications(): void
{
    [$listener, $sender] = [connection(), connection()];
    $listener->exec('LISTEN ph_news');
    for ($number = 0; $number < 5; $number++) {
        $sender->exec("NOTIFY ph_news, '$number'");
        tell('heard', array_slice($listener->pgsqlGetNotify(PDO::FETCH_NUM, 20000), 0, 1), $number);
    }
    $sender->exec('SET statement_timeout = 40');
    failing('timeout', fn () => $sender->exec('SELECT pg_sleep(30)'));
    tell('still', one($sender, 'SELECT 6'));
}

function reconnects(): void
{
    for ($number = 0; $number < 15; $number++) {
        $pdo = connection();
        tell('connection', one($pdo, 'SELECT CAST(? AS int)', [$number]));
        $pdo = null;
    }
    $persistent = [connection('', [PDO::ATTR_PERSISTENT => true]), connection('', [PDO::ATTR_PERSISTENT => true])];
    tell('persistent', one($persistent[0], 'SELECT 1'), one($persistent[1], 'SELECT 2'));
    $pdo = connection();
    $pdo->exec('CREATE TEMP TABLE mine (a int); INSERT INTO mine VALUES (1)');
    tell('mine', one($pdo, 'SELECT a FROM mine'));
    failing('own end', fn () => $pdo->exec('SELECT pg_terminate_backend(pg_backend_pid())'));
    failing('then', fn () => one($pdo, 'SELECT 1'));
    tell('again', one(connection(), 'SELECT 1'));
}

foreach (['parameters', 'statements', 'blocks', 'cursors', 'copying', 'types', 'notifications', 'reconnects'] as $name) {
    if ($argc > 1 && !in_array($name, $argv, true)) {
        continue;
    }
    echo "-- $name\n";
    $name();
}
echo "-- the end\n";
