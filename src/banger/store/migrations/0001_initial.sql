-- One row an object; values that are never searched for stay JSON documents.
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE vm (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    image_id TEXT NOT NULL,
    spec TEXT NOT NULL,
    lease TEXT NOT NULL,
    machine TEXT NOT NULL,
    last_exit TEXT NOT NULL,
    problem TEXT NOT NULL,
    created_at REAL NOT NULL,
    started_at REAL NOT NULL,
    generation INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX vm_image ON vm (image_id);

CREATE TABLE image (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    document TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE operation (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    target_kind TEXT NOT NULL,
    target_id TEXT NOT NULL,
    target_name TEXT NOT NULL,
    arguments TEXT NOT NULL,
    status TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    created_at REAL NOT NULL,
    ended_at REAL NOT NULL,
    error TEXT NOT NULL,
    result TEXT NOT NULL,
    idempotency_key TEXT UNIQUE
) STRICT, WITHOUT ROWID;
CREATE INDEX operation_status ON operation (status);
CREATE INDEX operation_created ON operation (created_at);

CREATE TABLE step (
    operation_id TEXT NOT NULL REFERENCES operation (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    phase TEXT NOT NULL,
    observed TEXT NOT NULL,
    PRIMARY KEY (operation_id, position)
) STRICT, WITHOUT ROWID;

-- The primary key is the allocator: whoever inserts (kind, key) first holds it.
CREATE TABLE resource (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    operation_id TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX resource_owner ON resource (owner_id);
