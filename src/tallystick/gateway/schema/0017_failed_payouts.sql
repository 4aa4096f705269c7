-- Payouts fail on demand, for those who test what they do then.
ALTER TABLE fault DROP CONSTRAINT fault_place_check;
ALTER TABLE fault ADD CONSTRAINT fault_place_check CHECK (place IN ('acquirer', 'webhooks', 'api', 'settlement', 'payouts'));

-- What is on its way is found without a look at all that ever was.
CREATE INDEX refund_pending ON refund (account_id, livemode, currency) WHERE status = 'pending';
CREATE INDEX dispute_open ON dispute (account_id, livemode, currency) WHERE status IN ('needs_response', 'under_review');
