-- People who log in to the operators' pages, as at the gateway.
CREATE TABLE operator_user (
    name          text COLLATE "C" PRIMARY KEY,
    role          text NOT NULL CHECK (role IN ('support', 'finance', 'fulfilment', 'auditor', 'admin')),
    password_hash text NOT NULL,                    -- argon2id
    created_at    timestamptz NOT NULL,
    disabled_at   timestamptz
);
CREATE TABLE operator_session (
    token_hash bytea PRIMARY KEY,                   -- of the cookie
    user_name  text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    seen_at    timestamptz                          -- when somebody was there last
);
CREATE INDEX operator_session_expired ON operator_session (expires_at);
CREATE INDEX operator_session_of_user ON operator_session (user_name);

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
