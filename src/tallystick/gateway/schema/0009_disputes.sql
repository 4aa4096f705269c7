-- Disputes: money that a cardholder's bank takes back, and what became of it.

ALTER TABLE charge ADD COLUMN disputed boolean NOT NULL DEFAULT false; -- ever; what is withheld stands beside it

CREATE TABLE dispute (
    account_id      text COLLATE "C" NOT NULL,
    livemode        boolean NOT NULL,
    id              text COLLATE "C" NOT NULL,
    version         int NOT NULL,
    payment_intent  text COLLATE "C" NOT NULL,
    charge          text COLLATE "C" NOT NULL,
    reference       text COLLATE "C" NOT NULL,      -- the bank's own: told twice, it is one dispute
    status          text NOT NULL CHECK (status IN (
                        'needs_response',           -- the amount is withheld; evidence may be sent until evidence_due_at
                        'under_review',             -- evidence was sent
                        'won', 'lost')),            -- what the bank decided, or the merchant accepted
    amount          bigint NOT NULL CHECK (amount > 0),
    currency        text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    reason          text NOT NULL,
    brand           text NOT NULL,
    created_at      timestamptz NOT NULL,
    evidence_due_at timestamptz NOT NULL,
    evidence        jsonb NOT NULL DEFAULT '{}',
    submissions     int NOT NULL DEFAULT 0 CHECK (submissions >= 0),
    metadata        jsonb NOT NULL DEFAULT '{}',
    contest_due_at  timestamptz,                    -- when the bank is to be given the evidence; null once it has it
    PRIMARY KEY (account_id, livemode, id),
    CHECK (status <> 'under_review' OR submissions > 0)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX dispute_told_once ON dispute (account_id, livemode, reference);
CREATE INDEX dispute_of_intent ON dispute (account_id, livemode, payment_intent, id);
CREATE INDEX dispute_to_contest ON dispute (contest_due_at, account_id, id) WHERE contest_due_at IS NOT NULL;

ALTER TABLE ledger_transaction DROP CONSTRAINT ledger_transaction_kind_check;
ALTER TABLE ledger_transaction ADD CONSTRAINT ledger_transaction_kind_check
    CHECK (kind IN ('charge', 'capture', 'void', 'refund', 'refund_paid', 'refund_failure', 'dispute', 'dispute_reversal', 'dispute_lost'));

ALTER TABLE simulated_operation DROP CONSTRAINT simulated_operation_tells_check;
ALTER TABLE simulated_operation ADD CONSTRAINT simulated_operation_tells_check
    CHECK (tells IN ('approved', 'refund_failed', 'disputed', 'dispute_won', 'dispute_lost'));

-- Shown once what the table will look like, as in the first file.
INSERT INTO dispute (account_id, livemode, id, version, payment_intent, charge, reference, status, amount, currency, reason, brand,
                     created_at, evidence_due_at)
SELECT 'acct', false, 'dp_' || n, 1, 'pi_' || n, 'ch_' || n, 'd' || n, 'lost', n, 'EUR', 'fraudulent', 'visa', t, t
  FROM generate_series(1, 300) AS n, (VALUES (timestamptz '2026-01-01T00:00:00Z')) AS at(t);
ANALYZE dispute;
SAVEPOINT shown;
TRUNCATE dispute;
RELEASE SAVEPOINT shown;
