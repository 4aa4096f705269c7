-- A refund that has not left yet may be canceled.
ALTER TABLE refund DROP CONSTRAINT refund_status_check;
ALTER TABLE refund ADD CONSTRAINT refund_status_check CHECK (status IN (
    'pending',                                      -- asked for
    'succeeded',                                    -- the acquirer gave it back
    'failed',                                       -- refused, or sent back by the cardholder's bank
    'canceled'));                                   -- before it left
