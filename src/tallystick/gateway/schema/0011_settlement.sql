-- Settlement: what becomes available, what is paid out, and the report of every business day.

ALTER TABLE account ADD COLUMN payout_interval text NOT NULL DEFAULT 'daily' CHECK (payout_interval IN ('daily', 'manual'));

ALTER TABLE ledger_transaction DROP CONSTRAINT ledger_transaction_kind_check;
ALTER TABLE ledger_transaction ADD CONSTRAINT ledger_transaction_kind_check
    CHECK (kind IN ('charge', 'capture', 'void', 'refund', 'refund_paid', 'refund_failure', 'dispute', 'dispute_reversal', 'dispute_lost',
        'release', 'payout', 'payout_paid', 'payout_reversal'));

CREATE TABLE payout (
    account_id text COLLATE "C" NOT NULL,
    livemode   boolean NOT NULL,
    id         text COLLATE "C" NOT NULL,
    currency   text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    day        date NOT NULL,                       -- the business day whose closing made it
    amount     bigint NOT NULL CHECK (amount > 0),
    status     text NOT NULL CHECK (status IN ('pending', 'paid', 'failed')),
    arrival_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, livemode, id),
    UNIQUE (account_id, livemode, currency, day)
);
CREATE INDEX payout_due ON payout (arrival_at, account_id, id) WHERE status = 'pending';

-- One line for every ledger transaction, in the report of the day that took it; those without a category move nothing of the
-- merchant's and are not in the file. Append-only.
CREATE TABLE settlement_line (
    account_id         text COLLATE "C" NOT NULL,
    livemode           boolean NOT NULL,
    ledger_transaction text COLLATE "C" NOT NULL,
    currency           text NOT NULL,
    day                date NOT NULL,
    number             int NOT NULL CHECK (number > 0),
    kind               text NOT NULL,
    gross              bigint NOT NULL,
    fee                bigint NOT NULL,
    net                bigint NOT NULL,
    source             text COLLATE "C" NOT NULL,
    payment_intent     text COLLATE "C",
    charge             text COLLATE "C",
    order_id           text,
    payout             text COLLATE "C",            -- where it was paid out when its own day was closed
    created_at         timestamptz NOT NULL,
    available_at       timestamptz NOT NULL,
    PRIMARY KEY (account_id, livemode, ledger_transaction),
    UNIQUE (account_id, livemode, currency, day, number),
    CHECK (net = gross - fee)
);
CREATE INDEX settlement_line_available ON settlement_line (account_id, livemode, currency, available_at);

-- The manifest of a day's report, as its file says. Append-only: a wrong one is superseded by the next revision.
CREATE TABLE settlement_report (
    account_id text COLLATE "C" NOT NULL,
    livemode   boolean NOT NULL,
    id         text COLLATE "C" NOT NULL,
    currency   text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    day        date NOT NULL,
    revision   int NOT NULL CHECK (revision > 0),
    sequence   int NOT NULL CHECK (sequence > 0),
    ends_at    timestamptz NOT NULL,                -- it takes what was before this and in no report yet
    lines      int NOT NULL CHECK (lines >= 0),
    gross      bigint NOT NULL,
    fee        bigint NOT NULL,
    net        bigint NOT NULL,
    opening    bigint NOT NULL,
    closing    bigint NOT NULL,
    sha256     text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    balances   jsonb NOT NULL,                      -- what every ledger account came to, debit positive
    later_from text COLLATE "C" NOT NULL,           -- ids of what a later report may take begin here
    faults     jsonb NOT NULL DEFAULT '[]',         -- what is wrong in the file on purpose: [{"number", "kind"}]
    created_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, livemode, id),
    UNIQUE (account_id, livemode, currency, day, revision),
    UNIQUE (account_id, livemode, currency, sequence, revision),
    CHECK (net = gross - fee),
    CHECK (closing - opening = net),
    CHECK (faults = '[]' OR NOT livemode)
);

-- What has become available, and the payout in which it went.
CREATE TABLE balance_release (
    account_id         text COLLATE "C" NOT NULL,
    livemode           boolean NOT NULL,
    ledger_transaction text COLLATE "C" NOT NULL,
    currency           text NOT NULL,
    payout             text COLLATE "C",            -- null: not paid out yet
    PRIMARY KEY (account_id, livemode, ledger_transaction)
) WITH (fillfactor = 80);
CREATE INDEX balance_release_unpaid ON balance_release (account_id, livemode, currency) WHERE payout IS NULL;
CREATE INDEX balance_release_of_payout ON balance_release (account_id, livemode, payout, ledger_transaction) WHERE payout IS NOT NULL;

-- Faults on demand may strike settlement reports.
ALTER TABLE fault DROP CONSTRAINT fault_place_check;
ALTER TABLE fault ADD CONSTRAINT fault_place_check CHECK (place IN ('acquirer', 'webhooks', 'api', 'settlement'));

-- Shown once what the tables will look like, as in the first file.
INSERT INTO settlement_line (account_id, livemode, ledger_transaction, currency, day, number, kind, gross, fee, net, source,
                             created_at, available_at)
SELECT 'acct', false, 'txn_' || n, 'EUR', date '2026-01-01' + n / 30, n, 'charge', n, 0, n, 'ch_' || n, t + n * interval '1 hour', t
  FROM generate_series(1, 300) AS n, (VALUES (timestamptz '2026-01-01T00:00:00Z')) AS at(t);
INSERT INTO balance_release (account_id, livemode, ledger_transaction, currency, payout)
SELECT 'acct', false, 'txn_' || n, 'EUR', 'po_' || n FROM generate_series(1, 300) AS n;
ANALYZE settlement_line, balance_release;
SAVEPOINT shown;
TRUNCATE settlement_line, balance_release;
RELEASE SAVEPOINT shown;
