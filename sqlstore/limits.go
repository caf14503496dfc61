package sqlstore

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/grantwell/oauth"
)

// What the columns hold, in bytes. MySQL cuts what is longer off where its
// sql_mode is not strict, so nothing is left to the database.
const (
	maxID       = 128
	maxRealm    = 255
	maxKind     = 64
	maxClientID = 2048
	maxSubject  = 255
	maxData     = 1<<24 - 1 // MEDIUMTEXT
)

func checkRecord(r *oauth.Record, data string) error {
	if r.ID == "" {
		return errors.New("the record has no ID")
	}
	return errors.Join(
		checkText("ID", r.ID, maxID), checkText("Realm", r.Realm, maxRealm), checkText("Kind", string(r.Kind), maxKind),
		checkText("ClientID", r.ClientID, maxClientID), checkText("Subject", r.Subject, maxSubject),
		checkText("Data", data, maxData))
}

func checkFilter(f *oauth.Filter) error {
	return errors.Join(
		checkText("Realm", f.Realm, maxRealm), checkText("Kind", string(f.Kind), maxKind),
		checkText("ClientID", f.ClientID, maxClientID), checkText("Subject", f.Subject, maxSubject),
		checkText("After", f.After, maxID))
}

// checkText refuses what some database would refuse, cut off or change:
// PostgreSQL stores no zero byte, MySQL only what is UTF-8.
func checkText(field, text string, limit int) error {
	if len(text) > limit {
		return fmt.Errorf("%s has %d bytes, more than %d", field, len(text), limit)
	}
	if !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 {
		return fmt.Errorf("%s is not UTF-8 without zero bytes", field)
	}
	return nil
}
