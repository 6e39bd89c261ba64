// An application of JDBC: server-prepared statements, batches, fetch sizes, generated keys, COPY, large objects.
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.Array;
import java.sql.BatchUpdateException;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.time.LocalDate;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyIn;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

public class App {
    interface Action {
        void run() throws Exception;
    }

    static void tell(String what, Object... values) {
        System.out.println(what + ": " + Arrays.deepToString(values));
    }

    static Connection connect(String... more) throws SQLException {
        Properties words = new Properties();
        words.setProperty("user", System.getenv("PGUSER"));
        words.setProperty("password", System.getenv("PGPASSWORD"));
        String database = System.getenv("PGDATABASE");
        for (int at = 0; at < more.length; at += 2) {
            if (more[at].equals("database")) {
                database = more[at + 1];
            } else {
                words.setProperty(more[at], more[at + 1]);
            }
        }
        return DriverManager.getConnection(
                "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + database, words);
    }

    static void failing(String what, Action action) throws Exception {
        try {
            action.run();
        } catch (SQLException error) {
            tellError(what, error);
            return;
        }
        throw new AssertionError(what + " did not fail");
    }

    static void tellError(String what, SQLException error) {
        ServerErrorMessage fields = error instanceof PSQLException ? ((PSQLException) error).getServerErrorMessage() : null;
        if (fields == null) {
            tell(what, error.getClass().getSimpleName(), error.getSQLState());
        } else {
            tell(what, fields.getSeverity(), fields.getSQLState(), fields.getMessage(), fields.getDetail(), fields.getHint(),
                    fields.getPosition(), fields.getWhere(), fields.getSchema(), fields.getTable(), fields.getColumn(),
                    fields.getConstraint());
        }
    }

    static Object one(Connection connection, String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int at = 0; at < values.length; at++) {
                statement.setObject(at + 1, values[at]);
            }
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                return rows.getObject(1);
            }
        }
    }

    static void run(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }

    static void parameters() throws Exception {
        try (Connection c = connect("ApplicationName", "a java app", "options", "-c my.own=yes -c work_mem=5MB", "currentSchema",
                "pg_catalog", "assumeMinServerVersion", "9.0")) {
            for (String name : new String[] {"application_name", "search_path", "my.own", "work_mem", "client_encoding", "DateStyle",
                    "TimeZone", "extra_float_digits"}) {
                tell(name, one(c, "SHOW " + name));
            }
            tell("reported", ((PGConnection) c).getParameterStatus("TimeZone"), c.getClientInfo("ApplicationName"), c.getSchema());
            c.setClientInfo("ApplicationName", "renamed");
            c.setSchema("public");
            tell("changed", one(c, "SHOW application_name"), one(c, "SHOW search_path"));
            run(c, "SET TimeZone = 'Asia/Tokyo'");
            tell("time", ((PGConnection) c).getParameterStatus("TimeZone"), one(c, "SELECT '2024-07-01 00:00+00'::timestamptz::text"));
            run(c, "RESET ALL");
            tell("reset", one(c, "SHOW search_path"), one(c, "SHOW application_name"), one(c, "SHOW TimeZone"));
            failing("client_encoding", () -> run(c, "SET client_encoding = latin1"));
        }
        failing("no such parameter", () -> connect("options", "-c no_such=1"));
        failing("wrong password", () -> connect("password", "wrong"));
        failing("no such database", () -> connect("database", "never_was"));
        failing("no such user", () -> connect("user", "never_was"));
    }

    static void thresholds() throws Exception {
        try (Connection c = connect()) {
            run(c, "CREATE TABLE j (id serial PRIMARY KEY, v text UNIQUE, n int CHECK (n < 1000), parent int REFERENCES j)");
        }
        for (String threshold : new String[] {"0", "1", "3", "5", "-1"}) {
            List<Connection> connections = new ArrayList<>();
            List<PreparedStatement> statements = new ArrayList<>();
            for (int number = 0; number < 4; number++) {
                connections.add(connect("prepareThreshold", threshold, "preparedStatementCacheQueries", "4"));
                // S_1 of each connection is a text of its own
                statements.add(connections.get(number).prepareStatement("SELECT ? + " + number));
            }
            int sum = 0;
            for (int turn = 0; turn < 9; turn++) {
                for (PreparedStatement statement : statements) {
                    statement.setInt(1, turn * 10);
                    try (ResultSet rows = statement.executeQuery()) {
                        rows.next();
                        sum += rows.getInt(1);
                    }
                }
            }
            for (int turn = 0; turn < 4; turn++) {
                for (int text = 0; text < 7; text++) {
                    sum += (Integer) one(connections.get(0), "SELECT ?::int + " + text, turn);
                }
            }
            tell("threshold " + threshold, sum);
            for (Connection connection : connections) {
                connection.close();
            }
        }
        for (String mode : new String[] {"simple", "extended", "extendedForPrepared", "extendedCacheEverything"}) {
            try (Connection c = connect("preferQueryMode", mode)) {
                for (int turn = 0; turn < 7; turn++) {
                    run(c, "SELECT 1; SELECT 2");
                    one(c, "SELECT ?::int", turn);
                }
                tell(mode, one(c, "SELECT ?::int + 1", 41));
                failing(mode, () -> one(c, "SELECT 1 / ?::int", 0));
            }
        }
        plans();
    }

    static void plans() throws Exception {
        try (Connection c = connect("prepareThreshold", "1"); Connection other = connect()) {
            run(other, "CREATE TABLE plan (a int); INSERT INTO plan VALUES (1)");
            try (PreparedStatement statement = c.prepareStatement("SELECT * FROM plan")) {
                for (int turn = 0; turn < 6; turn++) {
                    if (turn == 3) {
                        run(other, "ALTER TABLE plan ADD COLUMN b text DEFAULT 'new'");
                    }
                    try (ResultSet rows = statement.executeQuery()) {
                        rows.next();
                        tell("columns", rows.getMetaData().getColumnCount());
                    }
                }
            }
            run(c, "DEALLOCATE ALL");
            tell("forgotten", one(c, "SELECT ?::int", 1));
            run(c, "DISCARD ALL");
            tell("discarded", one(c, "SELECT ?::int", 1));
        }
    }

    static void blocks() throws Exception {
        try (Connection c = connect()) {
            c.setAutoCommit(false);
            String[] texts = {"SELECT 1/0", "INSERT INTO j (id) VALUES (NULL)", "INSERT INTO j (n) VALUES (1000)", "SELECT nope", "SELEC",
                    "INSERT INTO j (parent) VALUES (-1)", "SELECT 'x'::int", "SELECT * FROM never_was",
                    "DO $$ BEGIN RAISE EXCEPTION 'own' USING ERRCODE = 'P0042', DETAIL = 'why', HINT = 'how'; END $$"};
            for (String sql : texts) {
                failing(sql, () -> run(c, sql));
                failing("then", () -> run(c, "SELECT 1"));
                c.rollback();
            }
            run(c, "INSERT INTO j (v) VALUES ('outer')");
            Savepoint savepoint = c.setSavepoint("one");
            failing("inner", () -> run(c, "INSERT INTO j (v) VALUES ('outer')"));
            c.rollback(savepoint);
            run(c, "INSERT INTO j (v) VALUES ('second')");
            c.releaseSavepoint(c.setSavepoint());
            c.commit();
            tell("kept", one(c, "SELECT count(*) FROM j"));
            c.rollback();
            c.setReadOnly(true);
            c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            tell("serializable", one(c, "SHOW transaction_isolation"), one(c, "SHOW transaction_read_only"));
            failing("read only", () -> run(c, "INSERT INTO j (v) VALUES ('never')"));
            c.rollback();
            c.setReadOnly(false);
            c.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
            c.setAutoCommit(true);
            try (Statement statement = c.createStatement()) {
                statement.execute("DO $$ BEGIN RAISE NOTICE 'noted'; RAISE WARNING 'warned' USING HINT = 'a hint'; END $$");
                for (SQLWarning note = statement.getWarnings(); note != null; note = note.getNextWarning()) {
                    tell("note", note.getSQLState(), note.getMessage());
                }
            }
        }
        try (Connection c = connect("autosave", "always")) {
            c.setAutoCommit(false);
            run(c, "INSERT INTO j (v) VALUES ('autosaved')");
            failing("autosave", () -> run(c, "SELECT 1/0"));
            tell("goes on", one(c, "SELECT count(*) FROM j"));
            c.commit();
        }
    }

    static void batches() throws Exception {
        for (String rewrite : new String[] {"false", "true"}) {
            try (Connection c = connect("reWriteBatchedInserts", rewrite)) {
                c.setAutoCommit(false);
                try (PreparedStatement insert = c.prepareStatement("INSERT INTO j (n) VALUES (?)", Statement.RETURN_GENERATED_KEYS)) {
                    for (int number = 0; number < 700; number++) {
                        insert.setInt(1, number);
                        insert.addBatch();
                    }
                    int[] counts = insert.executeBatch();
                    int keys = 0;
                    try (ResultSet rows = insert.getGeneratedKeys()) {
                        while (rows.next()) {
                            keys++;
                        }
                    }
                    tell("batch", counts.length, Arrays.stream(counts).sum(), keys);
                }
                c.commit();
                try (PreparedStatement insert = c.prepareStatement("INSERT INTO j (n) VALUES (?)")) {
                    for (int number = 0; number < 400; number++) {
                        insert.setInt(1, number == 250 ? 5000 : number);
                        insert.addBatch();
                    }
                    insert.executeBatch();
                    throw new AssertionError("the batch went well");
                } catch (BatchUpdateException error) {
                    tell("bad batch", error.getUpdateCounts().length);
                    tellError("its error", error.getNextException());
                }
                c.rollback();
                tell("count", one(c, "SELECT count(*) FROM j"));
                c.commit();
                try (Statement statement = c.createStatement()) {
                    statement.addBatch("INSERT INTO j (v) VALUES ('in a batch " + rewrite + "')");
                    statement.addBatch("UPDATE j SET n = n + 1 WHERE n < 10");
                    statement.addBatch("DELETE FROM j WHERE n = 500");
                    tell("mixed", statement.executeBatch());
                }
                c.commit();
            }
        }
        try (Connection c = connect(); Statement statement = c.createStatement()) {
            tell("executed", statement.executeUpdate("INSERT INTO j (v) VALUES ('one'), ('two')", new String[] {"v"}));
            try (ResultSet rows = statement.getGeneratedKeys()) {
                while (rows.next()) {
                    tell("key", rows.getString("v"));
                }
            }
            boolean more = statement.execute("SELECT 1; UPDATE j SET n = 1 WHERE v = 'one'; SELECT 'x', 'y'");
            tell("several", more, statement.getUpdateCount(), statement.getMoreResults(), statement.getUpdateCount(),
                    statement.getMoreResults(), statement.getUpdateCount());
        }
    }

    static void fetching() throws Exception {
        try (Connection c = connect()) {
            c.setAutoCommit(false);
            for (int size : new int[] {0, 1, 7, 1000}) {
                try (PreparedStatement statement = c.prepareStatement("SELECT i, repeat('x', i % 50) FROM generate_series(1, ?) i")) {
                    statement.setFetchSize(size);
                    statement.setInt(1, 3000 / (size == 1 ? 100 : 1));
                    long sum = 0;
                    try (ResultSet rows = statement.executeQuery()) {
                        while (rows.next()) {
                            sum += rows.getInt(1) + rows.getString(2).length();
                        }
                    }
                    tell("fetch " + size, sum);
                }
            }
            try (Statement left = c.createStatement(); Statement right = c.createStatement()) {
                left.setFetchSize(5);
                right.setFetchSize(3);
                try (ResultSet a = left.executeQuery("SELECT generate_series(1, 40)");
                        ResultSet b = right.executeQuery("SELECT generate_series(101, 140)")) {
                    int sum = 0;
                    while (a.next() && b.next()) {
                        sum += a.getInt(1) * b.getInt(1);
                    }
                    tell("two portals", sum);
                }
                left.setMaxRows(3);
                try (ResultSet rows = left.executeQuery("SELECT generate_series(1, 40)")) {
                    rows.next();
                    rows.next();
                    tell("max rows", rows.next(), rows.next());
                }
            }
            try (Statement statement = c.createStatement()) {
                statement.setFetchSize(4);
                ResultSet rows = statement.executeQuery("SELECT 10 / (6 - generate_series(1, 20))");
                failing("in the middle", () -> {
                    while (rows.next()) {
                        rows.getInt(1);
                    }
                });
            }
            c.rollback();
            try (Statement statement = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE);
                    ResultSet rows = statement.executeQuery("SELECT id, v FROM j WHERE v = 'one'")) {
                rows.first();
                rows.updateString("v", "updated");
                rows.updateRow();
                tell("updated", one(c, "SELECT count(*) FROM j WHERE v = 'updated'"));
            }
            c.commit();
            run(c, "CREATE FUNCTION refs() RETURNS refcursor LANGUAGE plpgsql AS "
                    + "$$ DECLARE c refcursor; BEGIN OPEN c FOR SELECT generate_series(1, 30); RETURN c; END $$");
            try (CallableStatement call = c.prepareCall("{? = call refs()}")) {
                call.registerOutParameter(1, Types.OTHER);
                call.execute();
                try (ResultSet rows = (ResultSet) call.getObject(1)) {
                    int count = 0;
                    while (rows.next()) {
                        count++;
                    }
                    tell("refcursor", count);
                }
            }
            c.commit();
        }
    }

    static void types() throws Exception {
        try (Connection c = connect("prepareThreshold", "2")) {
            run(c, "CREATE TABLE jt (a bool, b int8, c numeric, d float8, e text, f bytea, g date, h time, i timestamptz, j int[], "
                    + "k uuid, l jsonb, m interval)");
            for (int turn = 0; turn < 4; turn++) {
                try (PreparedStatement insert = c.prepareStatement("INSERT INTO jt VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?::jsonb, ?)")) {
                    insert.setBoolean(1, true);
                    insert.setLong(2, 1L << 60);
                    insert.setBigDecimal(3, new BigDecimal("-1.2300"));
                    insert.setDouble(4, 1e300);
                    insert.setString(5, "é漢字\uD83D\uDE00 '\\");
                    insert.setBytes(6, new byte[] {0, -1, 39, 92});
                    insert.setObject(7, LocalDate.of(1, 1, 1));
                    insert.setObject(8, LocalTime.of(1, 2, 3, 4000));
                    insert.setObject(9, OffsetDateTime.parse("2024-07-01T12:00:00.123456+03:00"));
                    insert.setArray(10, c.createArrayOf("int4", new Integer[] {1, null, 3}));
                    insert.setObject(11, new UUID(0, 7));
                    insert.setString(12, "{\"a\": [1, null]}");
                    insert.setObject(13, new org.postgresql.util.PGInterval("1 mon -3 days"));
                    insert.executeUpdate();
                }
            }
            for (int turn = 0; turn < 7; turn++) {
                try (PreparedStatement select = c.prepareStatement("SELECT * FROM jt LIMIT 1"); ResultSet rows = select.executeQuery()) {
                    rows.next();
                    Array array = rows.getArray(10);
                    tell("row", rows.getBoolean(1), rows.getLong(2), rows.getBigDecimal(3), rows.getDouble(4), rows.getString(5),
                            rows.getBytes(6), rows.getObject(7, LocalDate.class), rows.getObject(8, LocalTime.class),
                            rows.getObject(9, OffsetDateTime.class), array.getArray(), rows.getObject(11), rows.getString(12),
                            rows.getString(13));
                }
            }
            try (PreparedStatement none = c.prepareStatement("SELECT ?::int, ?::text, ?::bytea")) {
                none.setNull(1, Types.INTEGER);
                none.setString(2, "x".repeat(2_000_000));
                none.setBinaryStream(3, new ByteArrayInputStream(new byte[1_500_000]), 1_500_000);
                try (ResultSet rows = none.executeQuery()) {
                    rows.next();
                    tell("large", rows.getObject(1), rows.getString(2).length(), rows.getBytes(3).length);
                }
            }
        }
    }

    static void copying() throws Exception {
        try (Connection c = connect()) {
            CopyManager copy = ((PGConnection) c).getCopyAPI();
            run(c, "CREATE TABLE jc (a int, b text)");
            StringBuilder lines = new StringBuilder();
            for (int number = 0; number < 20000; number++) {
                lines.append(number).append("\tline\n");
            }
            tell("in", copy.copyIn("COPY jc FROM STDIN", new StringReader(lines.toString())));
            StringWriter out = new StringWriter();
            tell("out", copy.copyOut("COPY jc TO STDOUT (FORMAT csv)", out), out.getBuffer().length());
            CopyIn given = copy.copyIn("COPY jc FROM STDIN");
            given.writeToCopy("1\tx\n".getBytes(), 0, 4);
            given.cancelCopy();
            failing("bad row", () -> copy.copyIn("COPY jc FROM STDIN", new StringReader("x\ty\n" + lines.toString().repeat(20))));
            tell("kept", one(c, "SELECT count(*) FROM jc"));
        }
    }

    static void largeObjects() throws Exception {
        try (Connection c = connect()) {
            c.setAutoCommit(false);
            LargeObjectManager manager = ((PGConnection) c).getLargeObjectAPI();
            long number = manager.createLO(LargeObjectManager.READ | LargeObjectManager.WRITE);
            LargeObject object = manager.open(number, LargeObjectManager.WRITE);
            byte[] piece = new byte[10000];
            for (int turn = 0; turn < 50; turn++) {
                Arrays.fill(piece, (byte) turn);
                object.write(piece);
            }
            object.close();
            c.commit();
            object = manager.open(number, LargeObjectManager.READ);
            object.seek(123456);
            ByteArrayOutputStream got = new ByteArrayOutputStream();
            try (InputStream stream = object.getInputStream()) {
                stream.transferTo(got);
            }
            tell("large object", got.size(), got.toByteArray()[0]);
            failing("fast path", () -> ((PGConnection) c).getLargeObjectAPI().open(1L, LargeObjectManager.READ).read(1));
            c.rollback();
            manager.delete(number);
            c.commit();
        }
    }

    static void notifications() throws Exception {
        try (Connection listener = connect(); Connection sender = connect()) {
            run(listener, "LISTEN java_news");
            for (int number = 0; number < 5; number++) {
                run(sender, "NOTIFY java_news, '" + number + "'");
            }
            List<String> heard = new ArrayList<>();
            while (heard.size() < 5) {
                for (PGNotification note : ((PGConnection) listener).getNotifications(20000)) {
                    heard.add(note.getName() + " " + note.getParameter());
                }
            }
            tell("heard", heard);
        }
    }

    static void cancelling() throws Exception {
        try (Connection c = connect(); Connection other = connect()) {
            try (Statement statement = c.createStatement()) {
                statement.setQueryTimeout(1);
                failing("query timeout", () -> statement.executeQuery("SELECT pg_sleep(30)"));
            }
            tell("afterwards", one(c, "SELECT 5"));
            ExecutorService helper = Executors.newSingleThreadExecutor();
            try (Statement statement = c.createStatement()) {
                Future<?> cancelling = helper.submit(() -> {
                    while ((Long) one(other, "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(43)' AND "
                            + "wait_event = 'PgSleep' AND datname = current_database()") == 0) {
                    }
                    statement.cancel();
                    return null;
                });
                failing("cancelled", () -> statement.executeQuery("SELECT pg_sleep(43)"));
                cancelling.get();
                for (int turn = 0; turn < 50; turn++) {
                    statement.cancel(); // a storm of what comes too late
                    run(c, "SELECT 1");
                }
            } finally {
                helper.shutdown();
            }
            tell("still", one(c, "SELECT 6"));
            run(c, "SET statement_timeout = 50");
            failing("statement timeout", () -> run(c, "SELECT pg_sleep(30)"));
        }
    }

    static void sessions() throws Exception {
        List<Connection> connections = new ArrayList<>();
        for (int number = 0; number < 3; number++) {
            Connection c = connect();
            connections.add(c);
            run(c, "CREATE TEMP TABLE mine (a int); INSERT INTO mine VALUES (" + number + ")");
        }
        for (Connection c : connections) {
            tell("mine", one(c, "SELECT a FROM mine"));
            c.close();
        }
        try (Connection c = connect()) {
            DatabaseMetaData about = c.getMetaData();
            List<String> found = new ArrayList<>();
            try (ResultSet rows = about.getColumns(null, "public", "jt", null)) {
                while (rows.next()) {
                    found.add(rows.getString("COLUMN_NAME") + " " + rows.getString("TYPE_NAME"));
                }
            }
            tell("columns", found, about.getDatabaseMajorVersion());
            try (ResultSet rows = about.getPrimaryKeys(null, "public", "j")) {
                rows.next();
                tell("key", rows.getString("COLUMN_NAME"));
            }
            tell("valid", c.isValid(5));
            failing("own end", () -> run(c, "SELECT pg_terminate_backend(pg_backend_pid())"));
            tell("valid", c.isValid(5), c.isClosed());
        }
    }

    static void crowd() throws Exception {
        try (Connection c = connect()) {
            run(c, "CREATE TABLE jcrowd (who int, n int)");
        }
        ExecutorService threads = Executors.newFixedThreadPool(20);
        List<Future<?>> done = new ArrayList<>();
        for (int number = 0; number < 20; number++) {
            int who = number;
            done.add(threads.submit(() -> {
                try (Connection c = connect("prepareThreshold", "2")) {
                    c.setAutoCommit(false);
                    for (int turn = 0; turn < 12; turn++) {
                        try (PreparedStatement insert = c.prepareStatement("INSERT INTO jcrowd VALUES (?, ?)")) {
                            insert.setInt(1, who);
                            insert.setInt(2, turn);
                            insert.executeUpdate();
                        }
                        if (turn % 4 == 3) {
                            c.rollback();
                        } else {
                            c.commit();
                        }
                    }
                }
                return null;
            }));
        }
        for (Future<?> each : done) {
            each.get();
        }
        threads.shutdown();
        try (Connection c = connect()) {
            tell("all", one(c, "SELECT count(*) || ' ' || sum(who) || ' ' || sum(n) FROM jcrowd"));
        }
    }

    public static void main(String[] arguments) throws Exception {
        String[] names = {"parameters", "thresholds", "blocks", "batches", "fetching", "types", "copying", "largeObjects",
                "notifications", "cancelling", "sessions", "crowd"};
        Action[] actions = {App::parameters, App::thresholds, App::blocks, App::batches, App::fetching, App::types, App::copying,
                App::largeObjects, App::notifications, App::cancelling, App::sessions, App::crowd};
        for (int at = 0; at < names.length; at++) {
            if (arguments.length == 0 || Arrays.asList(arguments).contains(names[at])) {
                System.out.println("-- " + names[at]);
                actions[at].run();
            }
        }
        System.out.println("-- the end");
    }
}
