// An application of pgx v4: named statements kept in a cache, batches of hundreds, COPY, pools, logical types.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
)

var background = context.Background()

func tell(what string, values ...interface{}) {
	fmt.Printf("%s: %v\n", what, values)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func words(more string) string {
	return fmt.Sprintf("host=%s port=%s user=%s password=%s dbname=%s sslmode=disable %s", os.Getenv("PGHOST"),
		os.Getenv("PGPORT"), os.Getenv("PGUSER"), os.Getenv("PGPASSWORD"), os.Getenv("PGDATABASE"), more)
}

func connect(more string) *pgx.Conn {
	connection, err := pgx.Connect(background, words(more))
	must(err)
	return connection
}

func failing(what string, err error) {
	var pe *pgconn.PgError
	switch {
	case err == nil:
		panic(what + " did not fail")
	case errors.As(err, &pe):
		tell(what, pe.Severity, pe.Code, pe.Message, pe.Detail, pe.Hint, pe.Position, pe.Where, pe.SchemaName, pe.TableName, pe.ColumnName, pe.ConstraintName)
	default:
		tell(what, err)
	}
}

type asker interface {
	QueryRow(context.Context, string, ...interface{}) pgx.Row
	Exec(context.Context, string, ...interface{}) (pgconn.CommandTag, error)
}

func one(db asker, text string, values ...interface{}) interface{} {
	var got interface{}
	must(db.QueryRow(background, text, values...).Scan(&got))
	return got
}

func run(db asker, text string, values ...interface{}) error {
	_, err := db.Exec(background, text, values...)
	return err
}

func parameters() {
	db := connect("application_name='a gopher' search_path=pg_catalog my.own=yes work_mem=139kB")
	for _, name := range []string{"application_name", "search_path", "my.own", "work_mem", "client_encoding", "DateStyle"} {
		tell(name, one(db, "SHOW "+name))
	}
	tell("reported", db.PgConn().ParameterStatus("TimeZone"), db.PgConn().ParameterStatus("application_name"))
	must(run(db, "SET search_path = public; SET TimeZone = 'Asia/Tokyo'"))
	tell("changed", db.PgConn().ParameterStatus("TimeZone"))
	must(run(db, "DISCARD ALL"))
	db.Close(background)
	for _, more := range []string{"no_such=1", "work_mem=plenty", "password=wrong", "dbname=never_was", "user=never_was"} {
		_, err := pgx.Connect(background, words(more))
		failing(more, err)
	}
}

func statements() {
	var all []*pgx.Conn
	for _, more := range []string{"", "", "statement_cache_mode=describe", "statement_cache_capacity=3", "statement_cache_capacity=0"} {
		all = append(all, connect(more))
	}
	must(run(all[0], "CREATE TABLE px (id serial PRIMARY KEY, v text UNIQUE, n int CHECK (n < 1000))"))
	sum := int64(0)
	for turn := 0; turn < 12; turn++ {
		for number, each := range all {
			sum += one(each, fmt.Sprintf("SELECT $1::int8 * 10 + %d", number), turn).(int64)
			for text := 0; text < 5; text++ {
				sum += one(each, fmt.Sprintf("SELECT $1::int8 - %d", text), turn).(int64)
			}
			sum += one(each, "SELECT $1::int8", pgx.QuerySimpleProtocol(true), turn).(int64)
		}
	}
	tell("cached", sum)
	for number, each := range all[:2] {
		_, err := each.Prepare(background, "mine", fmt.Sprintf("SELECT '%d' || $1::text", number))
		must(err)
	}
	got := ""
	for turn := 0; turn < 4; turn++ {
		for _, each := range all[:2] {
			got += one(each, "mine", fmt.Sprint(turn)).(string) + " "
		}
	}
	tell("named", got)
	must(all[0].Deallocate(background, "mine"))
	_, err := all[0].Exec(background, "mine", "x")
	failing("deallocated", err)
	// DDL of one connection under the cached statement of another
	for turn := 0; turn < 4; turn++ {
		rows, err := all[0].Query(background, "SELECT * FROM px")
		if err == nil {
			for rows.Next() {
			}
			err = rows.Err()
		}
		if err != nil && !strings.Contains(err.Error(), "cached plan") {
			failing("changed", err)
		}
		if turn == 1 {
			must(run(all[1], "ALTER TABLE px ADD COLUMN more int"))
		}
	}
	for _, each := range all {
		each.Close(background)
	}
}

func batches() {
	db := connect("")
	defer db.Close(background)
	for _, size := range []int{1, 20, 600} {
		batch := &pgx.Batch{}
		for number := 0; number < size; number++ {
			batch.Queue("INSERT INTO px (n) VALUES ($1) RETURNING n", number)
			if number%10 == 9 {
				batch.Queue("SELECT count(*) FROM px WHERE n = $1", number)
			}
		}
		results := db.SendBatch(background, batch)
		sum := int64(0)
		for number := 0; number < batch.Len(); number++ {
			var got int64
			must(results.QueryRow().Scan(&got))
			sum += got
		}
		must(results.Close())
		tell("batch", size, sum)
	}
	batch := &pgx.Batch{}
	for number := 0; number < 50; number++ {
		batch.Queue("INSERT INTO px (n) VALUES ($1)", number)
		batch.Queue("SELECT 10 / ($1::int - 30)", number)
	}
	results := db.SendBatch(background, batch)
	good := 0
	var err error
	for ; err == nil; good++ {
		_, err = results.Exec()
	}
	failing("bad batch", err)
	_, err = results.Exec()
	tell("then", err != nil, good)
	failing("close", results.Close())
	tell("rolled back", one(db, "SELECT count(*) FROM px"))
	// The statement that fails to be prepared is in the middle of others.
	batch = &pgx.Batch{}
	batch.Queue("SELECT 1")
	batch.Queue("SELECT nope")
	batch.Queue("SELECT 2")
	failing("unprepared", db.SendBatch(background, batch).Close())
	raw := db.PgConn().Exec(background, "SELECT 1; INSERT INTO px (v) VALUES ('raw'); SELECT 'a', 'b'")
	sets, err := raw.ReadAll()
	must(err)
	for _, set := range sets {
		tell("set", len(set.Rows), set.CommandTag)
	}
	low := &pgconn.Batch{}
	for number := 0; number < 30; number++ {
		low.ExecParams("SELECT $1::text", [][]byte{[]byte(fmt.Sprint(number))}, nil, nil, nil)
	}
	sets, err = db.PgConn().ExecBatch(background, low).ReadAll()
	must(err)
	tell("low", len(sets), string(sets[29].Rows[0][0]))
}

func blocks() {
	var notices []string
	config, err := pgx.ParseConfig(words(""))
	must(err)
	config.OnNotice = func(_ *pgconn.PgConn, note *pgconn.Notice) { notices = append(notices, note.Severity+" "+note.Message+" "+note.Hint) }
	db, err := pgx.ConnectConfig(background, config)
	must(err)
	defer db.Close(background)
	for _, text := range []string{"SELECT 1/0", "INSERT INTO px (id) VALUES (NULL)", "INSERT INTO px (n) VALUES (1000)", "SELECT nope",
		"SELEC", "SELECT 'x'::int", "SELECT * FROM never_was",
		"DO $$ BEGIN RAISE EXCEPTION 'own' USING ERRCODE = 'P0042', DETAIL = 'why', HINT = 'how'; END $$"} {
		block, err := db.Begin(background)
		must(err)
		failing(text, run(block, text))
		tell("status", string(db.PgConn().TxStatus()))
		failing("then", run(block, "SELECT 1"))
		failing("commit", block.Commit(background))
	}
	block, err := db.BeginTx(background, pgx.TxOptions{IsoLevel: pgx.Serializable, AccessMode: pgx.ReadOnly, DeferrableMode: pgx.Deferrable})
	must(err)
	tell("serializable", one(block, "SHOW transaction_isolation"), one(block, "SHOW transaction_read_only"))
	failing("read only", run(block, "INSERT INTO px (v) VALUES ($1)", "never"))
	must(block.Rollback(background))
	must(db.BeginFunc(background, func(outer pgx.Tx) error {
		must(run(outer, "INSERT INTO px (v) VALUES ($1)", "outer"))
		failing("inner", outer.BeginFunc(background, func(inner pgx.Tx) error {
			return run(inner, "INSERT INTO px (v) VALUES ($1)", "outer")
		}))
		must(run(outer, "DO $$ BEGIN RAISE NOTICE 'noted'; RAISE WARNING 'warned' USING HINT = 'a hint'; END $$"))
		return nil
	}))
	tell("kept", one(db, "SELECT count(*) FROM px WHERE v = 'outer'"), notices)
	rows, err := db.Query(background, "SELECT 10 / (5 - generate_series(1, $1::int))", 10)
	must(err)
	count := 0
	for rows.Next() {
		count++
	}
	failing("in the middle", rows.Err())
	tell("before it", count)
}

func copying() {
	db := connect("")
	defer db.Close(background)
	must(run(db, "CREATE TABLE pxcopy (a int, b text)"))
	for _, bad := range []bool{false, true} {
		rows := [][]interface{}{}
		for number := 0; number < 20000; number++ {
			rows = append(rows, []interface{}{int32(number), fmt.Sprint("line ", number)})
		}
		if bad {
			rows[5][0] = "x"
		}
		count, err := db.CopyFrom(background, pgx.Identifier{"pxcopy"}, []string{"a", "b"}, pgx.CopyFromRows(rows))
		tell("copied", count, err)
	}
	_, err := db.PgConn().CopyFrom(background, strings.NewReader("x\tbad\n"+strings.Repeat("1\tgood\n", 500000)), "COPY pxcopy FROM STDIN")
	failing("bad row", err)
	out := &strings.Builder{}
	tag, err := db.PgConn().CopyTo(background, out, "COPY pxcopy TO STDOUT")
	must(err)
	tell("out", tag, out.Len())
	_, err = db.PgConn().CopyTo(background, out, "COPY never_was TO STDOUT")
	failing("no such table", err)
	tell("still", one(db, "SELECT count(*) FROM pxcopy"))
}

func types() {
	db := connect("")
	defer db.Close(background)
	for _, value := range []struct {
		name  string
		value interface{}
	}{{"bool", true}, {"int8", int64(1) << 60}, {"float8", 1e300}, {"text", "é漢字\U0001f600 '\\"}, {"bytea", []byte{0, 255}},
		{"text", nil}, {"date", time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)}, {"int4[]", []int32{1, 2}}, {"text[]", []string{"a", `b"c`}},
		{"jsonb", map[string]interface{}{"a": []int{1}}}, {"interval", time.Hour}} {
		for _, simple := range []bool{false, true} {
			if simple && value.name == "jsonb" {
				continue
			}
			tell(value.name, one(db, "SELECT $1::"+value.name, pgx.QuerySimpleProtocol(simple), value.value))
		}
	}
	tell("time", one(db, "SELECT '2024-07-01 12:00+00'::timestamptz").(time.Time).UTC())
	tell("large", len(one(db, "SELECT $1::text", strings.Repeat("x", 3000000)).(string)))
}

func cancelling() {
	db := connect("")
	ctx, cancel := context.WithTimeout(background, 40*time.Millisecond)
	defer cancel()
	_, err := db.Exec(ctx, "SELECT pg_sleep(30)")
	tell("deadline", err != nil, db.IsClosed())
	db = connect("")
	defer db.Close(background)
	other := connect("")
	defer other.Close(background)
	go func() {
		for one(other, "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(44)' AND wait_event = 'PgSleep' AND datname = current_database()").(int64) == 0 {
		}
		must(db.PgConn().CancelRequest(background))
	}()
	_, err = db.Exec(background, "SELECT pg_sleep(44)")
	failing("cancelled", err)
	must(run(db, "SET statement_timeout = 40"))
	failing("timeout", run(db, "SELECT pg_sleep(30)"))
	tell("still", one(db, "SELECT 6"))
}

func listening() {
	listener, sender := connect(""), connect("")
	must(run(listener, "LISTEN pgx_news"))
	for number := 0; number < 5; number++ {
		must(run(sender, "SELECT pg_notify('pgx_news', $1)", fmt.Sprint(number)))
	}
	for number := 0; number < 5; number++ {
		note, err := listener.WaitForNotification(background)
		must(err)
		tell("heard", note.Channel, note.Payload)
	}
	listener.Close(background)
	sender.Close(background)
}

func pools() {
	config, err := pgxpool.ParseConfig(words("pool_max_conns=24"))
	must(err)
	pool, err := pgxpool.ConnectConfig(background, config)
	must(err)
	_, err = pool.Exec(background, "CREATE TABLE pxcrowd (who int, n int)")
	must(err)
	var group sync.WaitGroup
	for number := 0; number < 24; number++ {
		group.Add(1)
		go func(number int) {
			defer group.Done()
			for turn := 0; turn < 10; turn++ {
				block, err := pool.Begin(background)
				must(err)
				must(run(block, "INSERT INTO pxcrowd VALUES ($1, $2)", number, turn))
				if turn%3 == 2 {
					must(block.Rollback(background))
				} else {
					must(block.Commit(background))
				}
			}
		}(number)
	}
	group.Wait()
	tell("all", one(pool, "SELECT count(*) || ' ' || sum(who) || ' ' || sum(n) FROM pxcrowd"))
	pool.Close()
	single := connect("")
	failing("own end", run(single, "SELECT pg_terminate_backend(pg_backend_pid())"))
	tell("closed", single.IsClosed())
	single = connect("")
	tell("again", one(single, "SELECT 1"))
	single.Close(background)
}

func main() {
	names := []string{"parameters", "statements", "batches", "blocks", "copying", "types", "cancelling", "listening", "pools"}
	for at, section := range []func(){parameters, statements, batches, blocks, copying, types, cancelling, listening, pools} {
		if len(os.Args) < 2 || os.Args[1] == names[at] {
			fmt.Println("--", names[at])
			section()
		}
	}
	fmt.Println("-- the end")
}
