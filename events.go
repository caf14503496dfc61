package oauth

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// EventType says what an [Event] tells of.
type EventType string

// The events. Those that ask for somebody's attention come first.
const (
	EventReuseDetected  EventType = "reuse_detected"  // an old refresh token or a used code came back; the authorization has ended
	EventRecordAltered  EventType = "record_altered"  // a stored authorization was changed by somebody else; the credential was refused
	EventStoreWentBack  EventType = "store_went_back" // the store has lost writes; the authorization goes on
	EventUnknownSecret  EventType = "unknown_secret"  // a credential made with a secret that is not in Config.Secrets
	EventUnknownFormat  EventType = "unknown_format"  // a record written by a newer version; answered with 503
	EventStorageFailed  EventType = "storage_failed"  // a failure of the store, the registry, the signer or a hook; answered with 503 or 500
	EventWrongClient    EventType = "wrong_client"    // a credential presented by a client it was not issued to; nothing changed
	EventClientRefused  EventType = "client_refused"  // client authentication failed
	EventRequestRefused EventType = "request_refused" // any other refusal
	EventApproved       EventType = "approved"        // the resource owner allowed the request
	EventDenied         EventType = "denied"          // the resource owner, or the host, refused it
	EventTokenIssued    EventType = "token_issued"    // an access token, and a refresh token where Refresh says so
	EventRefreshRetried EventType = "refresh_retried" // the same successor was given again inside the retry window
	EventRaceLost       EventType = "race_lost"       // a code or refresh token came a second time while the first was under way; nothing changed
	EventRevoked        EventType = "revoked"         // a token or an authorization was revoked
)

// An Event tells the host of something that happened, after it was committed or
// refused. It never contains a credential.
type Event struct {
	Type      EventType
	Time      time.Time
	Endpoint  string // as in [Error].Endpoint; "" outside HTTP
	ClientID  string // "" if unknown; only claimed where Err is set, at most 256 bytes
	Subject   string
	GrantType string
	// Authorization is the ID of the record; "" where there is none.
	Authorization string
	// Generation is that of the credential presented, or of the refresh token issued.
	Generation uint32
	Refresh    bool // a refresh token was issued
	Imported   bool // a token of another server was adopted: see [Config].Import
	Scopes     []string
	// Err is the refusal, an *Error, with its Cause; nil for what succeeded.
	Err error
}

// LogValue implements [slog.LogValuer].
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("type", string(e.Type))}
	for _, a := range [...]slog.Attr{
		slog.String("endpoint", e.Endpoint), slog.String("client", e.ClientID), slog.String("subject", e.Subject),
		slog.String("grant", e.GrantType), slog.String("authorization", e.Authorization),
	} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	if e.Authorization != "" {
		attrs = append(attrs, slog.Uint64("generation", uint64(e.Generation)))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.String("error", e.Err.Error()))
	}
	return slog.GroupValue(attrs...)
}

// level is how loudly an event is logged.
func (t EventType) level() slog.Level {
	switch t {
	case EventStorageFailed, EventUnknownFormat, EventRecordAltered:
		return slog.LevelError
	case EventReuseDetected, EventStoreWentBack, EventUnknownSecret:
		return slog.LevelWarn
	case EventTokenIssued, EventApproved, EventRefreshRetried, EventRaceLost:
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// emit gives an event to the log and to the host.
func (s *Server) emit(ctx context.Context, e Event) {
	if e.Time.IsZero() {
		e.Time = s.now()
	}
	if level := e.Type.level(); s.log.Enabled(ctx, level) {
		s.log.LogAttrs(ctx, level, "oauth", slog.Any("event", e))
	}
	if s.cfg.Events == nil {
		return
	}
	e.Scopes = slices.Clone(e.Scopes) // the host's to keep
	// What happened has happened: a hook that panics must not cost the client the
	// answer.
	defer func() {
		if v := recover(); v != nil {
			s.log.ErrorContext(ctx, "oauth: Config.Events panicked", "event", string(e.Type), "type", fmt.Sprintf("%T", v))
		}
	}()
	s.cfg.Events(ctx, e)
}
