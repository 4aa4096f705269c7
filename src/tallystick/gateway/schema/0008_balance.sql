-- What a merchant has: fees by contract, business days, when money becomes available, what the ledger says of it.

ALTER TABLE account
    ADD COLUMN day_offset_minutes int NOT NULL DEFAULT 0 CHECK (day_offset_minutes BETWEEN -720 AND 840), -- of midnight, from UTC's
    ADD COLUMN available_days int NOT NULL DEFAULT 2 CHECK (available_days BETWEEN 0 AND 30); -- after the day that earned it

-- One row for an account's money in one currency and mode: what it is charged by contract, and which business day comes to be
-- closed next. The row is the lock of whoever closes it.
CREATE TABLE balance_account (
    account_id       text COLLATE "C" NOT NULL,
    livemode         boolean NOT NULL,
    currency         text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    fee_basis_points int NOT NULL DEFAULT 0 CHECK (fee_basis_points BETWEEN 0 AND 10000),
    fee_fixed        bigint NOT NULL DEFAULT 0 CHECK (fee_fixed BETWEEN 0 AND 999999999), -- minor units
    dispute_fee      bigint NOT NULL DEFAULT 0 CHECK (dispute_fee BETWEEN 0 AND 999999999), -- minor units
    next_day         date,                          -- the first business day that is not closed; null: no money moved yet
    close_at         timestamptz,                   -- when it may be closed
    PRIMARY KEY (account_id, livemode, currency),
    CHECK ((next_day IS NULL) = (close_at IS NULL))
) WITH (fillfactor = 80);
CREATE INDEX balance_account_due ON balance_account (close_at, account_id) WHERE close_at IS NOT NULL;

ALTER TABLE ledger_transaction ADD COLUMN available_at timestamptz; -- when the merchant may have it; null: at once
-- Callers know them as balance transactions, so they bear that name from the beginning.
UPDATE ledger_transaction SET id = 'txn_' || substr(id, 5) WHERE id LIKE 'ltx\_%';
-- Captures and voids are told of by their charge; all others by the reference.
CREATE INDEX ledger_transaction_of_charge ON ledger_transaction (account_id, livemode, charge, id) WHERE kind IN ('capture', 'void');

INSERT INTO balance_account (account_id, livemode, currency, next_day, close_at)
SELECT t.account_id, t.livemode, t.currency, (min(t.effective_at) AT TIME ZONE 'UTC')::date,
       (min(t.effective_at) AT TIME ZONE 'UTC')::date::timestamp AT TIME ZONE 'UTC' + interval '1 day'
  FROM ledger_transaction t
 GROUP BY t.account_id, t.livemode, t.currency;

-- What the legs on some accounts come to, debit positive.
CREATE FUNCTION ledger_sum_of(accounts text[], amounts bigint[], wanted text[]) RETURNS bigint
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS 'SELECT coalesce(sum(leg.amount), 0)::bigint FROM unnest(accounts, amounts) AS leg(account, amount) WHERE leg.account = ANY (wanted)';
