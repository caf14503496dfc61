package sqlstore

// ListQuery is the statement that lists by the fields named.
func ListQuery(d Dialect, kind, client, subject bool) string {
	by := 0
	if kind {
		by |= byKind
	}
	if client {
		by |= byClient
	}
	if subject {
		by |= bySubject
	}
	return d.queries().list[by]
}

// DeleteExpiredQuery is the statement that deletes.
func DeleteExpiredQuery(d Dialect) string { return d.queries().deleteExpired }

// MigrationStatements is Schema, statement by statement.
func MigrationStatements(d Dialect) []string { return statements(Schema(d)) }
