-- Shop notifications: the delivery engine's tables, as the gateway has them, and whom it delivers to (RULES §6). Its owner is the
-- merchant; the merchant service knows one mode.

-- What is sent is what was signed: the bytes of a message, once per message and API version.
CREATE TABLE message (
    owner_id    text COLLATE "C" NOT NULL,
    id          text COLLATE "C" NOT NULL,          -- the event's id: `webhook-id`, the same on every try
    api_version text NOT NULL,
    body        bytea NOT NULL,
    PRIMARY KEY (owner_id, id, api_version)
);

-- One message to one endpoint (RULES §1 delivery); the engine in kernel/delivery claims, sends and records.
CREATE TABLE delivery (
    owner_id    text COLLATE "C" NOT NULL,
    id          text COLLATE "C" NOT NULL,
    livemode    boolean NOT NULL,
    message     text COLLATE "C" NOT NULL,
    api_version text NOT NULL,
    endpoint    text COLLATE "C" NOT NULL,
    state       text NOT NULL CHECK (state IN (
                    'due',                          -- to be sent at due_at
                    'delivered',                    -- answered 2xx
                    'dead',                         -- tries exhausted: a dead letter
                    'held')),                       -- its endpoint is disabled
    tries       int NOT NULL DEFAULT 0 CHECK (tries >= 0),
    due_at      timestamptz NOT NULL,
    lease_until timestamptz,
    generation  int NOT NULL DEFAULT 0,
    reason      text,                               -- why the last try failed, why it is dead or held
    created_at  timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (owner_id, id),
    UNIQUE (owner_id, message, endpoint)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
CREATE INDEX delivery_due ON delivery (due_at, owner_id, id) WHERE state = 'due';

-- One HTTP try of a delivery (RULES §1 delivery attempt).
CREATE TABLE delivery_attempt (
    owner_id    text COLLATE "C" NOT NULL,
    delivery    text COLLATE "C" NOT NULL,
    number      int NOT NULL CHECK (number >= 1),   -- of the lease under which it was made; ascends, may have gaps
    started_at  timestamptz NOT NULL,
    duration_ms int NOT NULL CHECK (duration_ms >= 0),
    status      int,                                -- null: no answer
    reason      text,
    answer      bytea,                              -- at most 16 KiB of what the receiver said
    PRIMARY KEY (owner_id, delivery, number)
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

-- Where a merchant's shop hears of its orders; `enabled_events` holds types such as order.paid, or * for all.
CREATE TABLE notification_endpoint (
    merchant_id     text COLLATE "C" NOT NULL,
    endpoint_id     text COLLATE "C" NOT NULL,
    url             text NOT NULL,
    status          text NOT NULL DEFAULT 'enabled' CHECK (status IN ('enabled', 'disabled')),
    enabled_events  text[] NOT NULL CHECK (cardinality(enabled_events) >= 1),
    secrets         text[] NOT NULL CHECK (cardinality(secrets) BETWEEN 1 AND 4), -- live signing secrets, newest first
    created_at      timestamptz NOT NULL,
    deleted_at      timestamptz,
    PRIMARY KEY (merchant_id, endpoint_id)
);

-- Calls whose caller never came back are found by their age (RULES §5).
CREATE INDEX idempotency_key_created ON idempotency_key (created_at);

-- As in 0002: tables without statistics are shown once what they will look like.
DO $$
BEGIN
    INSERT INTO message (owner_id, id, api_version, body)
    SELECT 'mer', 'evt_' || n, '1', '' FROM generate_series(1, 300) AS n;
    INSERT INTO delivery (owner_id, id, livemode, message, api_version, endpoint, state, due_at, created_at, finished_at)
    SELECT 'mer', 'dlv_' || n, true, 'evt_' || n, '1', 'ep', 'delivered', t, t, t
      FROM generate_series(1, 300) AS n, (VALUES (timestamptz '2026-01-01T00:00:00Z')) AS at(t);
    INSERT INTO delivery_attempt (owner_id, delivery, number, started_at, duration_ms, status)
    SELECT 'mer', 'dlv_' || n, 1, t, 1, 200
      FROM generate_series(1, 300) AS n, (VALUES (timestamptz '2026-01-01T00:00:00Z')) AS at(t);
    ANALYZE message, delivery, delivery_attempt;
    BEGIN
        TRUNCATE message, delivery, delivery_attempt;
    EXCEPTION WHEN lock_not_available THEN
        RAISE;
    END;
END
$$;
