package sqlite

// Pragma asks a connection of the store for one of its settings.
func Pragma(s *Store, name string) (value int, err error) {
	err = s.db.QueryRow("PRAGMA " + name).Scan(&value)
	return value, err
}
