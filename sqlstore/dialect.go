package sqlstore

import (
	"strconv"
	"strings"
)

// Dialect is the SQL that a database speaks. The zero Dialect is none, and
// [Open] refuses it.
type Dialect int

// The dialects.
const (
	SQLite     Dialect = iota + 1 // SQLite from 3.37
	PostgreSQL                    // PostgreSQL from 12
	MySQL                         // MySQL from 8.0 and MariaDB from 10.6
)

// String is the name of the dialect.
func (d Dialect) String() string {
	switch d {
	case SQLite:
		return "SQLite"
	case PostgreSQL:
		return "PostgreSQL"
	case MySQL:
		return "MySQL"
	}
	return "Dialect(" + strconv.Itoa(int(d)) + ")"
}

func (d Dialect) known() bool { return d >= SQLite && d <= MySQL }

// A queries is every statement that touches records, as the dialect writes it.
type queries struct {
	create, get, exists, update, updateData, deleteExpired string
	// list has an entry for every combination of byKind, byClient and bySubject.
	list [8]string
}

// What a page of a list is selected by, beside the realm.
const (
	byKind = 1 << iota
	byClient
	bySubject
)

const columns = "id, realm, kind, client_id, subject, created_at, expires_at, version, data"

func (d Dialect) queries() *queries {
	q := &queries{
		create: "INSERT INTO oauth_record (" + columns + ") VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?) ON CONFLICT (id) DO NOTHING",
		get:    "SELECT " + columns + " FROM oauth_record WHERE id = ?",
		exists: "SELECT 1 FROM oauth_record WHERE id = ?",
		update: "UPDATE oauth_record SET subject = ?, expires_at = ?, version = version + 1, data = ? WHERE id = ? AND version = ?",
	}
	q.updateData = "UPDATE oauth_record SET version = version + 1, data = ? WHERE id = ? AND version = ? AND subject = ? AND expires_at IS ?"
	// Each judges a row in the step that deletes it: SQLite lets one statement write
	// at a time; PostgreSQL judges again what it locks, and skips what a request or
	// another sweep has in hand, so that sweeps neither wait nor deadlock; MySQL
	// locks a row before it looks.
	switch d {
	case SQLite:
		q.deleteExpired = "DELETE FROM oauth_record WHERE id IN (SELECT id FROM oauth_record WHERE expires_at < ? ORDER BY expires_at LIMIT ?)"
	case PostgreSQL:
		q.deleteExpired = "DELETE FROM oauth_record WHERE id = ANY (ARRAY(SELECT id FROM oauth_record WHERE expires_at < ? ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED))"
	case MySQL:
		q.deleteExpired = "DELETE FROM oauth_record WHERE expires_at < ? ORDER BY expires_at LIMIT ?"
		// INSERT IGNORE would hide other errors, the number of rows depends on the
		// DSN's clientFoundRows, and error 1062 on the driver's own type. This
		// changes nothing in the row and reports 1 as the last insert id.
		q.create = "INSERT INTO oauth_record (" + columns + ") VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?) ON DUPLICATE KEY UPDATE id = IF(LAST_INSERT_ID(1) = 1, id, id)"
	}
	for by := range q.list {
		q.list[by] = listQuery(by)
	}
	if d == PostgreSQL {
		for _, text := range []*string{&q.create, &q.get, &q.exists, &q.update, &q.deleteExpired} {
			*text = numbered(*text)
		}
		for by := range q.list {
			q.list[by] = numbered(q.list[by])
		}
	}
	return q
}

// queriesInTx are those of a host's transaction. One of MySQL sees the database as it
// was at its first statement, REPEATABLE READ being the default, but for reads that
// lock: without them Revoke would pass over an authorization that came since, and
// never get at one that was refreshed since.
func (d Dialect) queriesInTx() *queries {
	q := d.queries()
	if d == MySQL {
		q.get += " FOR UPDATE"
		q.exists += " FOR UPDATE"
		for by := range q.list {
			q.list[by] += " FOR UPDATE"
		}
	}
	return q
}

func listQuery(by int) string {
	text := "SELECT " + columns + " FROM oauth_record WHERE realm = ?"
	if by&byKind != 0 {
		text += " AND kind = ?"
	}
	if by&byClient != 0 {
		text += " AND client_id = ?"
	}
	if by&bySubject != 0 {
		text += " AND subject = ?"
	}
	// A number, not an argument: PostgreSQL plans better for a limit that it knows.
	return text + " AND id > ? ORDER BY id LIMIT " + strconv.Itoa(pageSize)
}

// numbered writes $1, $2 … for the question marks. None of ours is in a literal.
func numbered(text string) string {
	var b strings.Builder
	n := 0
	for part := range strings.SplitSeq(text, "?") {
		if n > 0 {
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
		}
		b.WriteString(part)
		n++
	}
	return b.String()
}
