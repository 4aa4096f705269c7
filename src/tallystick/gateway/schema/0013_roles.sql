-- Operators have a role. Who could do everything before still can: a process of the version before makes keys without one.
ALTER TABLE operator_key ADD COLUMN role text NOT NULL DEFAULT 'admin'
    CHECK (role IN ('support', 'finance', 'fulfilment', 'auditor', 'admin'));
ALTER TABLE operator_user ADD COLUMN role text NOT NULL DEFAULT 'admin'
    CHECK (role IN ('support', 'finance', 'fulfilment', 'auditor', 'admin'));

-- The audit trail: what operators did, append-only. An act is noted before it is done, its outcome after; one without an outcome is
-- under way, or its process died.
CREATE TABLE audit_entry (
    id       text COLLATE "C" PRIMARY KEY,          -- ordered by time
    at       timestamptz NOT NULL,
    operator text COLLATE "C" NOT NULL,             -- who; empty where nobody was recognised
    role     text,
    via      text NOT NULL CHECK (via IN ('api', 'console', 'command')),
    act      text NOT NULL,                         -- what: "POST /operator/v1/redrives", "operators create"
    subject  text NOT NULL,                         -- on what: the ids in the address
    asked    jsonb,                                 -- the rest of what was asked, without notes and secrets
    address  text NOT NULL                          -- from where
);
CREATE INDEX audit_entry_of_operator ON audit_entry (operator, id);
CREATE TABLE audit_outcome (
    entry   text COLLATE "C" PRIMARY KEY,
    at      timestamptz NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('done', 'refused', 'failed')),
    status  int NOT NULL
);
