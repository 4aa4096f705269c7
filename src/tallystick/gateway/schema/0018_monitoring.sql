-- What an operator is shown must cost little, however much there is (RULES §13).

CREATE TABLE heartbeat (
    name    text COLLATE "C" PRIMARY KEY,           -- of what runs: the workers
    beat_at timestamptz NOT NULL                    -- when a process last said so
);

-- Charges are made in the order of time, so a range of blocks tells their times: a few pages for any number of rows.
CREATE INDEX charge_made ON charge USING brin (created_at) WITH (autosummarize = on);
CREATE INDEX cases_open ON cases (kind) WHERE state = 'open';
