-- Operators, dead letters and what becomes of them; how endpoints stand.

-- Operators belong to the installation and to no account: the hash of a key finds its holder.
CREATE TABLE operator_key (
    key_hash   bytea PRIMARY KEY,
    name       text NOT NULL,                       -- whom it was made for
    hint       text NOT NULL,                       -- prefix and last four, for lists
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
);

-- How an endpoint stands, where it is not simply well: what all dispatchers go by. No row: it is well.
CREATE TABLE endpoint_health (
    owner_id      text COLLATE "C" NOT NULL,
    livemode      boolean NOT NULL,
    endpoint      text COLLATE "C" NOT NULL,
    width         int CHECK (width >= 1),           -- deliveries at once by each dispatcher; null: as many as to any
    failures      int NOT NULL DEFAULT 0 CHECK (failures >= 0), -- in a row
    failing_since timestamptz,                      -- when the first of them began
    reason        text,                             -- of the last of them
    backoffs      int NOT NULL DEFAULT 0 CHECK (backoffs >= 0), -- in a row: each is longer than the one before
    backed_off_at timestamptz,                      -- tries that began earlier say nothing new
    slowed_until  timestamptz,                      -- it asked for time: nothing is sent before
    broken_until  timestamptz,                      -- it fails again and again: what falls due fails without being sent
    keep_at       timestamptz,                      -- when its backlog is looked at; null: there is none
    PRIMARY KEY (owner_id, livemode, endpoint)
) WITH (fillfactor = 70);
CREATE INDEX endpoint_health_keep ON endpoint_health (keep_at, owner_id, livemode, endpoint) WHERE keep_at IS NOT NULL;

-- What one endpoint has still to get, and its dead letters. Not written as state <> 'delivered': statements that change
-- deliveries by their key say which states they do not touch, and are not to find their rows here.
CREATE INDEX delivery_of_endpoint ON delivery (owner_id, livemode, endpoint, state, due_at, id)
    WHERE state IN ('due', 'held', 'dead');
-- Events that somebody has not got: GET /v1/events?delivery_success=false.
CREATE INDEX delivery_undelivered ON delivery (owner_id, message) WHERE state IN ('due', 'held', 'dead');

-- Rotation: until when the secrets behind the first one sign too; null: for as long as they stand there.
ALTER TABLE webhook_endpoint ADD COLUMN older_secrets_until timestamptz;

-- That an endpoint's deliveries become dead letters is told once for each reason, however many there are and whoever works.
CREATE TABLE dead_letter_alert (
    owner_id  text COLLATE "C" NOT NULL,
    livemode  boolean NOT NULL,
    endpoint  text COLLATE "C" NOT NULL,
    reason    text NOT NULL,
    delivery  text COLLATE "C" NOT NULL,            -- the first of them
    tries     int NOT NULL DEFAULT 0 CHECK (tries >= 0), -- to tell it
    due_at    timestamptz,                          -- when it is to be told; null: it was
    raised_at timestamptz NOT NULL,
    PRIMARY KEY (owner_id, livemode, endpoint, reason)
);
CREATE INDEX dead_letter_alert_due ON dead_letter_alert (due_at) WHERE due_at IS NOT NULL;

-- Dead letters in the order of their dying: what operators look through and redrive.
CREATE INDEX delivery_dead ON delivery (finished_at, owner_id, id) WHERE state = 'dead';

-- A redrive: dead letters that are to be delivered after all, so many a second. An operator's job, which may span owners.
CREATE TABLE redrive (
    id          text COLLATE "C" PRIMARY KEY,
    state       text NOT NULL CHECK (state IN ('running', 'done', 'canceled')),
    filter      jsonb NOT NULL,                     -- which dead letters: kernel/delivery/redrive.Filter
    rate_max    int NOT NULL CHECK (rate_max >= 1), -- deliveries a second
    matched     int NOT NULL CHECK (matched >= 0),  -- how many there were when it was made
    redriven    int NOT NULL DEFAULT 0 CHECK (redriven >= 0),
    -- The last dead letter that was looked at; it goes on behind it.
    last_at     timestamptz,
    last_owner  text COLLATE "C",
    last_id     text COLLATE "C",
    generation  int NOT NULL DEFAULT 0,
    due_at      timestamptz NOT NULL,
    created_by  text NOT NULL,
    created_at  timestamptz NOT NULL,
    finished_at timestamptz
);
CREATE INDEX redrive_due ON redrive (due_at, id) WHERE state = 'running';

-- People who log in to the operators' pages.
CREATE TABLE operator_user (
    name          text COLLATE "C" PRIMARY KEY,
    password_hash text NOT NULL,                    -- argon2id
    created_at    timestamptz NOT NULL,
    disabled_at   timestamptz
);
CREATE TABLE operator_session (
    token_hash bytea PRIMARY KEY,                   -- of the cookie
    user_name  text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX operator_session_expired ON operator_session (expires_at);
CREATE INDEX operator_session_of_user ON operator_session (user_name);
