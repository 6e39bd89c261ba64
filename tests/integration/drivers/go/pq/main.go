// An application of lib/pq over database/sql: the unnamed statement in two round trips, contexts that cancel, COPY, listeners.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/lib/pq"
)

func tell(what string, values ...interface{}) {
	fmt.Printf("%s: %v\n", what, values)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func open(more string) *sql.DB {
	words := fmt.Sprintf("host=%s port=%s user=%s password=%s dbname=%s sslmode=disable %s", os.Getenv("PGHOST"),
		os.Getenv("PGPORT"), os.Getenv("PGUSER"), os.Getenv("PGPASSWORD"), os.Getenv("PGDATABASE"), more)
	db, err := sql.Open("postgres", words)
	must(err)
	return db
}

func failing(what string, err error) {
	var pe *pq.Error
	switch {
	case err == nil:
		panic(what + " did not fail")
	case errors.As(err, &pe):
		tell(what, pe.Severity, pe.Code, pe.Message, pe.Detail, pe.Hint, pe.Position, pe.Where, pe.Schema, pe.Table, pe.Column, pe.Constraint)
	default:
		tell(what, err)
	}
}

type asker interface {
	QueryRow(string, ...interface{}) *sql.Row
}

func one(db asker, text string, values ...interface{}) interface{} {
	var got interface{}
	must(db.QueryRow(text, values...).Scan(&got))
	if bytes, ok := got.([]byte); ok {
		return string(bytes)
	}
	return got
}

func run(db interface {
	Exec(string, ...interface{}) (sql.Result, error)
}, text string, values ...interface{}) error {
	_, err := db.Exec(text, values...)
	return err
}

func parameters() {
	db := open("application_name='a gopher' search_path=pg_catalog my.own=yes work_mem=139kB")
	db.SetMaxOpenConns(1)
	for _, name := range []string{"application_name", "search_path", "my.own", "work_mem", "client_encoding", "DateStyle", "extra_float_digits", "TimeZone"} {
		tell(name, one(db, "SHOW "+name))
	}
	must(run(db, "SET search_path = public"))
	must(run(db, "SET work_mem = '1MB'"))
	must(run(db, "RESET ALL"))
	tell("reset", one(db, "SHOW search_path"), one(db, "SHOW work_mem"), one(db, "SHOW extra_float_digits"))
	db.Close()
	failing("no such parameter", open("DOESNOTEXIST=foo").Ping())
	failing("bad value", open("work_mem=plenty").Ping())
	failing("wrong password", open("password=wrong").Ping())
	failing("no such database", open("dbname=never_was").Ping())
}

func statements() {
	db := open("")
	defer db.Close()
	must(run(db, "CREATE TABLE pq (id serial PRIMARY KEY, v text UNIQUE, n int CHECK (n < 1000))"))
	var all []*sql.DB
	for number := 0; number < 5; number++ {
		each := open("")
		each.SetMaxOpenConns(1)
		all = append(all, each)
	}
	sum := int64(0)
	for turn := 0; turn < 20; turn++ {
		for number, each := range all {
			sum += one(each, fmt.Sprintf("SELECT $1::int8 * 10 + %d", number), turn).(int64)
			sum += one(each, "SELECT $1::int8 - $2::int8", turn, number).(int64)
		}
	}
	tell("unnamed", sum)
	var prepared []*sql.Stmt
	for number, each := range all {
		statement, err := each.Prepare(fmt.Sprintf("SELECT '%d' || $1::text", number))
		must(err)
		prepared = append(prepared, statement)
	}
	words := ""
	for turn := 0; turn < 5; turn++ {
		for _, statement := range prepared {
			var got string
			must(statement.QueryRow(fmt.Sprint(turn)).Scan(&got))
			words += got + " "
		}
	}
	tell("named", words)
	for _, statement := range prepared {
		must(statement.Close())
	}
	binary := open("binary_parameters=yes")
	tell("binary", one(binary, "SELECT $1::bytea", []byte{0, 255, 39}), one(binary, "SELECT $1::int8", int64(1)<<60))
	binary.Close()
	_, err := db.Prepare("SELECT nope")
	failing("prepare", err)
	// DDL of one connection under the statement of another
	statement, err := all[0].Prepare("SELECT * FROM pq")
	must(err)
	must(run(all[1], "ALTER TABLE pq ADD COLUMN more int"))
	rows, err := statement.Query()
	if err == nil {
		for rows.Next() {
		}
		err = rows.Err()
	}
	tell("changed", err == nil || strings.Contains(err.Error(), "cached plan"))
	for _, each := range all {
		each.Close()
	}
}

func blocks() {
	db := open("")
	defer db.Close()
	for _, text := range []string{"SELECT 1/0", "INSERT INTO pq (id) VALUES (NULL)", "INSERT INTO pq (n) VALUES (1000)", "SELECT nope",
		"SELEC", "SELECT 'x'::int", "SELECT * FROM never_was",
		"DO $$ BEGIN RAISE EXCEPTION 'own' USING ERRCODE = 'P0042', DETAIL = 'why', HINT = 'how'; END $$"} {
		block, err := db.Begin()
		must(err)
		failing(text, run(block, text))
		failing("then", run(block, "SELECT $1::int", 1))
		failing("commit", block.Commit())
	}
	block, err := db.BeginTx(context.Background(), &sql.TxOptions{Isolation: sql.LevelSerializable, ReadOnly: true})
	must(err)
	tell("serializable", one(block, "SHOW transaction_isolation"), one(block, "SHOW transaction_read_only"))
	failing("read only", run(block, "INSERT INTO pq (v) VALUES ($1)", "never"))
	must(block.Rollback())
	block, err = db.Begin()
	must(err)
	must(run(block, "INSERT INTO pq (v) VALUES ($1)", "outer"))
	must(run(block, "SAVEPOINT one"))
	failing("inner", run(block, "INSERT INTO pq (v) VALUES ($1)", "outer"))
	must(run(block, "ROLLBACK TO one"))
	tell("key", one(block, "INSERT INTO pq (v) VALUES ($1) RETURNING v", "second"))
	must(block.Commit())
	tell("kept", one(db, "SELECT count(*) FROM pq"))
	rows, err := db.Query("SELECT 1; SELECT 'two', 2")
	must(err)
	for more := true; more; more = rows.NextResultSet() {
		names, _ := rows.Columns()
		count := 0
		for rows.Next() {
			count++
		}
		tell("set", len(names), count)
	}
	rows.Close()
	rows, err = db.Query("SELECT 10 / (5 - generate_series(1, $1::int))", 10)
	must(err)
	count := 0
	for rows.Next() {
		count++
	}
	failing("in the middle", rows.Err())
	tell("before it", count)
	connector, err := pq.NewConnector(fmt.Sprintf("sslmode=disable dbname=%s", os.Getenv("PGDATABASE")))
	must(err)
	noticing := sql.OpenDB(pq.ConnectorWithNoticeHandler(connector, func(note *pq.Error) { tell("notice", note.Severity, note.Message, note.Hint) }))
	must(run(noticing, "DO $$ BEGIN RAISE NOTICE 'noted'; RAISE WARNING 'warned' USING HINT = 'a hint'; END $$"))
	noticing.Close()
}

func copying() {
	db := open("")
	defer db.Close()
	must(run(db, "CREATE TABLE pqcopy (a int, b text)"))
	for _, bad := range []bool{false, true} {
		block, err := db.Begin()
		must(err)
		statement, err := block.Prepare(pq.CopyIn("pqcopy", "a", "b"))
		must(err)
		for number := 0; number < 20000 && err == nil; number++ {
			if bad && number == 10 {
				_, err = statement.Exec("x", "bad")
			} else {
				_, err = statement.Exec(number, fmt.Sprintf("line\t%d", number))
			}
		}
		if err == nil {
			_, err = statement.Exec()
		}
		if bad {
			failing("bad row", err)
			tell("closed", statement.Close() != nil || true)
			block.Rollback()
		} else {
			must(err)
			must(statement.Close())
			must(block.Commit())
		}
	}
	tell("copied", one(db, "SELECT count(*) || ' ' || sum(a) FROM pqcopy"))
}

func types() {
	db := open("")
	defer db.Close()
	for _, value := range []interface{}{nil, true, int64(1) << 60, 1e300, "é漢字\U0001f600 '\\", []byte{0, 255},
		time.Date(2024, 7, 1, 12, 0, 0, 123456000, time.UTC), pq.Array([]int64{1, 2, 3}), pq.Array([]string{"a", `b"c`})} {
		name := "text"
		switch value.(type) {
		case bool:
			name = "bool"
		case int64:
			name = "int8"
		case float64:
			name = "float8"
		case []byte:
			name = "bytea"
		case time.Time:
			name = "timestamptz"
		case *pq.Int64Array:
			name = "int8[]"
		case *pq.StringArray:
			name = "text[]"
		}
		tell(name, one(db, "SELECT $1::"+name, value))
	}
	tell("row", one(db, `SELECT '{"a": 1}'::jsonb`), one(db, "SELECT '1.200'::numeric"), one(db, "SELECT '1 mon'::interval"),
		one(db, "SELECT '0001-01-01'::date"), one(db, "SELECT '00000000-0000-0000-0000-000000000007'::uuid"))
	tell("large", len(one(db, "SELECT $1::text", strings.Repeat("x", 3000000)).(string)))
}

func cancelling() {
	db := open("")
	defer db.Close()
	db.SetMaxOpenConns(4)
	for turn := 0; turn < 8; turn++ {
		ctx, cancel := context.WithTimeout(context.Background(), 40*time.Millisecond)
		_, err := db.ExecContext(ctx, "SELECT pg_sleep($1)", 30)
		tell("deadline", err != nil)
		cancel()
		tell("afterwards", one(db, "SELECT $1::int8", turn))
	}
	var group sync.WaitGroup
	for number := 0; number < 60; number++ {
		group.Add(1)
		go func(number int) {
			defer group.Done()
			ctx, cancel := context.WithCancel(context.Background())
			rows, err := db.QueryContext(ctx, "SELECT $1::int8, generate_series(1, 50)", number)
			if err == nil {
				for rows.Next() {
					var a, b int64
					must(rows.Scan(&a, &b))
					if a != int64(number) {
						panic("another's row")
					}
				}
				rows.Close()
			}
			cancel() // at the end of each context, as applications do
		}(number)
	}
	group.Wait()
	block, err := db.BeginTx(context.Background(), nil)
	must(err)
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Millisecond)
	defer cancel()
	_, err = block.ExecContext(ctx, "SELECT pg_sleep(30)")
	failing("in a block", err)
	block.Rollback()
	failing("statement timeout", open("statement_timeout=40").QueryRow("SELECT pg_sleep(30)").Scan(new(interface{})))
	tell("still", one(db, "SELECT 6"))
}

func listening() {
	words := fmt.Sprintf("sslmode=disable dbname=%s application_name=listener", os.Getenv("PGDATABASE"))
	events := make(chan pq.ListenerEventType, 10)
	listener := pq.NewListener(words, 10*time.Millisecond, time.Second, func(event pq.ListenerEventType, _ error) { events <- event })
	must(listener.Listen("pq_news"))
	failing("twice", listener.Listen("pq_news"))
	db := open("")
	for number := 0; number < 5; number++ {
		must(run(db, "SELECT pg_notify('pq_news', $1)", fmt.Sprint(number)))
		note := <-listener.Notify
		tell("heard", note.Channel, note.Extra)
	}
	tell("connected", <-events == pq.ListenerEventConnected)
	// The backend of the listener is terminated: it connects again, listens again, and says so.
	must(run(db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'listener' AND datname = current_database()"))
	tell("disconnected", <-events == pq.ListenerEventDisconnected)
	tell("reconnected", <-events == pq.ListenerEventReconnected)
	tell("nothing was heard meanwhile", <-listener.Notify == nil)
	must(run(db, "NOTIFY pq_news, 'again'"))
	tell("heard", (<-listener.Notify).Extra)
	must(listener.Ping())
	must(listener.UnlistenAll())
	must(listener.Close())
	db.Close()
}

func crowd() {
	db := open("")
	defer db.Close()
	db.SetMaxOpenConns(24)
	must(run(db, "CREATE TABLE pqcrowd (who int, n int)"))
	var group sync.WaitGroup
	for number := 0; number < 24; number++ {
		group.Add(1)
		go func(number int) {
			defer group.Done()
			for turn := 0; turn < 10; turn++ {
				block, err := db.Begin()
				must(err)
				must(run(block, "INSERT INTO pqcrowd VALUES ($1, $2)", number, turn))
				if turn%3 == 2 {
					must(block.Rollback())
				} else {
					must(block.Commit())
				}
			}
		}(number)
	}
	group.Wait()
	tell("all", one(db, "SELECT count(*) || ' ' || sum(who) || ' ' || sum(n) FROM pqcrowd"))
	single := open("")
	single.SetMaxOpenConns(1)
	failing("own end", run(single, "SELECT pg_terminate_backend(pg_backend_pid())"))
	tell("again", one(single, "SELECT 1"))
	single.Close()
}

func main() {
	names := []string{"parameters", "statements", "blocks", "copying", "types", "cancelling", "listening", "crowd"}
	for at, section := range []func(){parameters, statements, blocks, copying, types, cancelling, listening, crowd} {
		if len(os.Args) < 2 || os.Args[1] == names[at] {
			fmt.Println("--", names[at])
			section()
		}
	}
	fmt.Println("-- the end")
}
