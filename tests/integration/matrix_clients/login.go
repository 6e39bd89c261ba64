// Logs in as each line of stdin says (a name, a tab, a connection string for pgx) and says how that went, as
// Login.java does.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
)

func attempt(where string) string {
	client, err := pgx.Connect(context.Background(), where)
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) {
		return refusal.Code + " " + refusal.Message
	}
	if err != nil {
		return "error " + err.Error()
	}
	defer client.Close(context.Background())
	var answer int
	if err := client.QueryRow(context.Background(), "SELECT 40 + 2").Scan(&answer); err != nil || answer != 42 {
		return fmt.Sprint("wrong rows ", err)
	}
	return "ok"
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		parts := strings.SplitN(lines.Text(), "\t", 2)
		fmt.Printf("%s\t%s\n", parts[0], attempt(parts[1]))
	}
}
