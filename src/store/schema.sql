-- SPDX-License-Identifier: Apache-2.0
-- Version 1 of the database. Later versions are steps in sqlite_db.c; what stands here never changes.
-- A job's id is a UUID of version 7, so this one tree is in the order of time and grows at its end.
CREATE TABLE job (
	id BLOB NOT NULL PRIMARY KEY,
	state INTEGER NOT NULL, -- enum job_state; below 5 the job is open
	function TEXT NOT NULL,
	path TEXT NOT NULL,
	class_name TEXT NOT NULL,
	context TEXT NOT NULL,
	parameters TEXT NOT NULL, -- JSON
	source TEXT NOT NULL,
	external_id TEXT,
	reply_to TEXT,
	trace TEXT,
	worker TEXT,
	result TEXT, -- JSON
	error TEXT,
	created_ms INTEGER NOT NULL, -- since 1970 UTC, like the next two; 0: not yet
	started_ms INTEGER NOT NULL,
	ended_ms INTEGER NOT NULL,
	start_timeout_ms INTEGER NOT NULL,
	perform_timeout_ms INTEGER NOT NULL,
	priority INTEGER NOT NULL,
	attempt INTEGER NOT NULL,
	is_sync INTEGER NOT NULL,
	idempotency_key TEXT,
	idempotency_digest TEXT, -- of the request that came with the key; NULL: the key is a place in a log
	door TEXT, -- the transport that reply_to is of
	owed INTEGER NOT NULL -- 1: it has ended and whoever asked has not taken the outcome yet
) WITHOUT ROWID, STRICT;

CREATE INDEX job_open ON job (id) WHERE state < 5;
CREATE INDEX job_owed ON job (id) WHERE owed = 1;
CREATE INDEX job_key ON job (created_ms) WHERE idempotency_key IS NOT NULL;
CREATE INDEX job_function ON job (function, id);

-- Functions and contexts that were made by the API.
CREATE TABLE noun (
	kind INTEGER NOT NULL, -- enum store_noun
	name TEXT NOT NULL,
	settings TEXT NOT NULL, -- JSON
	PRIMARY KEY (kind, name)
) WITHOUT ROWID, STRICT;
