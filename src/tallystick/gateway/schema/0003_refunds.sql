-- What is left of a charge to be given back. And unknown outcomes are looked up by schedule: when a row is due, how often it
-- was asked about, since when a person must look.
ALTER TABLE charge
    ADD COLUMN amount_refunded bigint NOT NULL DEFAULT 0 CHECK (amount_refunded >= 0), -- given back, as far as the acquirer said
    ADD COLUMN refund_pending bigint NOT NULL DEFAULT 0 CHECK (refund_pending >= 0), -- asked for and not known to be given back
    ADD COLUMN dispute_withheld bigint NOT NULL DEFAULT 0 CHECK (dispute_withheld >= 0), -- of disputes open or lost
    ADD COLUMN inquiries int NOT NULL DEFAULT 0 CHECK (inquiries >= 0),
    ADD COLUMN case_at timestamptz;
ALTER TABLE acquirer_request
    ADD COLUMN refund text COLLATE "C",              -- the refund that it carries out
    ADD COLUMN inquiries int NOT NULL DEFAULT 0 CHECK (inquiries >= 0),
    ADD COLUMN case_at timestamptz;
-- `due_at` of what is `sent` is the end of its sender's lease. A row of a version that set none is due at once.
CREATE INDEX charge_due ON charge ((coalesce(due_at, created_at)), account_id, id)
    WHERE state IN ('created', 'sent', 'unknown');
CREATE INDEX acquirer_request_due ON acquirer_request ((coalesce(due_at, created_at)), account_id, id)
    WHERE state IN ('created', 'sent', 'unknown');
-- What operators decided about outcomes that nobody could learn, and on which evidence. Append-only.
CREATE TABLE outcome_resolution (
    account_id text COLLATE "C" NOT NULL,
    livemode   boolean NOT NULL,
    id         text COLLATE "C" NOT NULL,
    object     text COLLATE "C" NOT NULL,           -- the charge or acquirer request
    outcome    text NOT NULL CHECK (outcome IN ('done', 'refused')),
    reference  text,                                -- the acquirer's own, where it was done
    evidence   text NOT NULL CHECK (evidence <> ''),
    operator   text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, livemode, id)
);

ALTER TABLE acquirer_request DROP CONSTRAINT acquirer_request_kind_check;
ALTER TABLE acquirer_request ADD CONSTRAINT acquirer_request_kind_check CHECK (kind IN ('capture', 'void', 'refund'));

-- A refund as the merchant sees it; how it is done at the acquirer is its request.
CREATE TABLE refund (
    account_id     text COLLATE "C" NOT NULL,
    livemode       boolean NOT NULL,
    id             text COLLATE "C" NOT NULL,
    version        int NOT NULL,
    payment_intent text COLLATE "C" NOT NULL,
    charge         text COLLATE "C" NOT NULL,
    status         text NOT NULL CHECK (status IN (
                       'pending',                   -- asked for
                       'succeeded',                 -- the acquirer gave it back
                       'failed')),                  -- refused, or sent back by the cardholder's bank
    amount         bigint NOT NULL CHECK (amount > 0),
    currency       text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    created_at     timestamptz NOT NULL,
    reason         text,
    metadata       jsonb NOT NULL DEFAULT '{}',
    failure_reason text,
    reference      text,                            -- the acquirer's own
    PRIMARY KEY (account_id, livemode, id),
    CHECK ((status = 'failed') = (failure_reason IS NOT NULL))
) WITH (fillfactor = 80);
CREATE INDEX refund_of_intent ON refund (account_id, livemode, payment_intent, id);
CREATE INDEX refund_of_charge ON refund (account_id, livemode, charge, id);

ALTER TABLE ledger_transaction DROP CONSTRAINT ledger_transaction_kind_check;
ALTER TABLE ledger_transaction ADD CONSTRAINT ledger_transaction_kind_check
    CHECK (kind IN ('charge', 'capture', 'void', 'refund', 'refund_paid', 'refund_failure'));

-- Shown once what the table will look like, as in the first file.
INSERT INTO refund (account_id, livemode, id, version, payment_intent, charge, status, amount, currency, created_at)
SELECT 'acct', false, 're_' || n, 1, 'pi_' || n, 'ch_' || n, 'succeeded', n, 'EUR', t
  FROM generate_series(1, 300) AS n, (VALUES (timestamptz '2026-01-01T00:00:00Z')) AS at(t);
ANALYZE refund;
SAVEPOINT shown;
TRUNCATE refund;
RELEASE SAVEPOINT shown;

-- For those who end what was abandoned, and those who drop what is old. Nothing that changes a key touches it.
CREATE INDEX idempotency_key_created ON idempotency_key (created_at);
