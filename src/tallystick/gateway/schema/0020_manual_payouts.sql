-- Payouts that merchants ask for: as many a day as they like, of what is available, called off while they are pending.
ALTER TABLE payout ADD COLUMN automatic boolean NOT NULL DEFAULT true;
ALTER TABLE payout ADD COLUMN description text;
ALTER TABLE payout ADD COLUMN statement_descriptor text;
ALTER TABLE payout ADD COLUMN metadata jsonb NOT NULL DEFAULT '{}';

ALTER TABLE payout DROP CONSTRAINT payout_status_check;
ALTER TABLE payout ADD CONSTRAINT payout_status_check CHECK (status IN ('pending', 'paid', 'failed', 'canceled'));
-- What the closing of a day made is never called off, and there is one of a day.
ALTER TABLE payout ADD CONSTRAINT payout_canceled_check CHECK (status <> 'canceled' OR NOT automatic);
CREATE UNIQUE INDEX payout_of_day ON payout (account_id, livemode, currency, day) WHERE automatic;
ALTER TABLE payout DROP CONSTRAINT payout_account_id_livemode_currency_day_key;

ALTER TABLE ledger_transaction DROP CONSTRAINT ledger_transaction_kind_check;
ALTER TABLE ledger_transaction ADD CONSTRAINT ledger_transaction_kind_check
    CHECK (kind IN ('charge', 'capture', 'void', 'refund', 'refund_paid', 'refund_failure', 'dispute', 'dispute_reversal', 'dispute_lost',
        'release', 'payout', 'payout_paid', 'payout_reversal', 'payout_cancel'));
