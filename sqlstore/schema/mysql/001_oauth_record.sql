-- +goose Up

-- MySQL commits every DDL statement by itself, so each may run again after a
-- crash in the middle, and the version is written last.
CREATE TABLE IF NOT EXISTS oauth_schema (
    version INT NOT NULL PRIMARY KEY
) ENGINE = InnoDB;

-- VARBINARY where bytes are compared: most character collations fold case or the
-- spaces behind, and which one does not has another name in MySQL and in MariaDB.
CREATE TABLE IF NOT EXISTS oauth_record (
    id         VARBINARY(128) NOT NULL PRIMARY KEY,
    realm      VARBINARY(255) NOT NULL,
    kind       VARBINARY(64) NOT NULL,
    client_id  VARBINARY(2048) NOT NULL,
    subject    VARBINARY(255) NOT NULL,
    created_at BIGINT NOT NULL, -- Unix milliseconds
    expires_at BIGINT NULL,     -- Unix milliseconds; NULL: never
    version    BIGINT NOT NULL,
    data       MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, -- the server's own JSON
    INDEX oauth_record_kind (realm, kind, id),
    INDEX oauth_record_subject (realm, subject, kind, id),
    INDEX oauth_record_client (realm, client_id, kind, id),
    INDEX oauth_record_expires (expires_at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Fails if a table of this name was there before that is not this one.
SELECT id, realm, kind, client_id, subject, created_at, expires_at, version, data FROM oauth_record WHERE id = '';

INSERT INTO oauth_schema (version) VALUES (1);
