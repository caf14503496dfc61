-- +goose Up

CREATE TABLE oauth_schema (
    version INTEGER NOT NULL PRIMARY KEY
) STRICT;

CREATE TABLE oauth_record (
    id         TEXT COLLATE BINARY NOT NULL PRIMARY KEY,
    realm      TEXT COLLATE BINARY NOT NULL,
    kind       TEXT COLLATE BINARY NOT NULL,
    client_id  TEXT COLLATE BINARY NOT NULL,
    subject    TEXT COLLATE BINARY NOT NULL,
    created_at INTEGER NOT NULL, -- Unix milliseconds
    expires_at INTEGER,          -- Unix milliseconds; NULL: never
    version    INTEGER NOT NULL,
    data       TEXT NOT NULL     -- the server's own JSON
) STRICT;

CREATE INDEX oauth_record_kind ON oauth_record (realm, kind, id);

CREATE INDEX oauth_record_subject ON oauth_record (realm, subject, kind, id);

CREATE INDEX oauth_record_client ON oauth_record (realm, client_id, kind, id);

CREATE INDEX oauth_record_expires ON oauth_record (expires_at);

INSERT INTO oauth_schema (version) VALUES (1);
