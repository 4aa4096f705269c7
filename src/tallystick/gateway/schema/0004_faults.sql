-- What the simulated bank must remember: requests of the test cards that need a memory, and those that a fault touched. It
-- stands for the bank's side, so only test mode writes here.
CREATE TABLE simulated_operation (
    account_id   text COLLATE "C" NOT NULL,
    key          text COLLATE "C" NOT NULL,         -- ours: the bank does it once
    kind         text NOT NULL CHECK (kind IN ('charge', 'capture', 'void', 'refund')),
    outcome      text NOT NULL CHECK (outcome IN (
                     'done', 'refused',             -- what the bank decided
                     'lost')),                      -- the request never arrived
    reference    text NOT NULL,                     -- the bank's own
    code         text,                              -- why it was refused
    decline_code text,
    message      text,
    known_at     timestamptz NOT NULL,              -- until then the bank has not decided
    comes_late   boolean NOT NULL DEFAULT false,    -- approves once it was told to forget it
    reversed_at  timestamptz,
    tells        text CHECK (tells IN ('approved', 'refund_failed')),
    tells_at     timestamptz,                       -- when the bank tells by itself; null once that is acknowledged
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (account_id, key)
) WITH (fillfactor = 80);
CREATE INDEX simulated_operation_telling ON simulated_operation (tells_at, account_id, key) WHERE tells_at IS NOT NULL;

-- What operators have the sandbox do wrong, on purpose: of one account's calls or of all, a number of them or a share.
CREATE TABLE fault (
    id         text COLLATE "C" PRIMARY KEY,
    place      text NOT NULL CHECK (place IN ('acquirer', 'webhooks', 'api')),
    kind       text NOT NULL,
    account_id text COLLATE "C",                    -- null: of every account
    share_pct  int CHECK (share_pct BETWEEN 1 AND 100), -- how many of a hundred calls; null: every one
    calls_left int CHECK (calls_left >= 0),         -- null: until it is cleared
    struck     int NOT NULL DEFAULT 0,              -- how often it did
    delay_ms   int CHECK (delay_ms > 0),            -- of what is slow or late
    operator   text NOT NULL,
    created_at timestamptz NOT NULL
);
