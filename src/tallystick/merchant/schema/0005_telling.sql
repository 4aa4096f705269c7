-- People are told of cases once: when that is due, null where it was done or need not be.
ALTER TABLE cases ADD COLUMN tell_at timestamptz;
CREATE INDEX cases_to_tell ON cases (tell_at, merchant_id, case_id) WHERE tell_at IS NOT NULL;
