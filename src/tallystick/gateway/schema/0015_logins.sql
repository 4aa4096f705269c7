-- When somebody was there last: a session ends when nobody is. Sessions of before say nothing of it, and count from their beginning.
ALTER TABLE operator_session ADD COLUMN seen_at timestamptz;

-- Second factors: a table of its own, because nobody who merely looks may read it.
CREATE TABLE operator_second_factor (
    user_name    text COLLATE "C" PRIMARY KEY,
    secret       bytea NOT NULL,                    -- of the codes (RFC 6238)
    last_step    bigint NOT NULL,                   -- codes of this step of time and of those before are used up
    confirmed_at timestamptz                        -- null: shown, and not proven yet
);

-- Where people have logged in from: there they are not kept out by what others try from elsewhere.
CREATE TABLE operator_place (
    user_name text COLLATE "C" NOT NULL,
    place     bytea NOT NULL,                       -- SHA-256 of the address
    seen_at   timestamptz NOT NULL,
    PRIMARY KEY (user_name, place)
);

-- Failed logins, by what is counted: a name at a place, a place, a name.
CREATE TABLE login_failure (
    subject  bytea PRIMARY KEY,                     -- SHA-256: people type passwords into the field for the name
    failures int NOT NULL CHECK (failures >= 0),
    last_at  timestamptz NOT NULL,
    free_at  timestamptz NOT NULL                   -- when the next try is taken
) WITH (fillfactor = 70);
CREATE INDEX login_failure_stale ON login_failure (last_at);
