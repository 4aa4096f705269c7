-- Reports that were asked for. The file is written anew from its settlement reports whenever it is fetched.
CREATE TABLE report_run (
    account_id     text COLLATE "C" NOT NULL,
    livemode       boolean NOT NULL,
    id             text COLLATE "C" NOT NULL,
    report_type    text NOT NULL,
    parameters     jsonb NOT NULL,                  -- as they were sent
    currency       text NOT NULL,
    columns        text[] NOT NULL,
    reports        text[] NOT NULL,                 -- the settlement reports that it is made of, in their order
    last_day       date NOT NULL,                   -- of the interval
    status         text NOT NULL CHECK (status IN ('pending', 'succeeded')),
    file           text COLLATE "C",
    size_bytes     bigint CHECK (size_bytes >= 0),
    manifest       jsonb,
    created_at     timestamptz NOT NULL,
    succeeded_at   timestamptz,
    PRIMARY KEY (account_id, livemode, id),
    CHECK ((status = 'succeeded') = (file IS NOT NULL AND size_bytes IS NOT NULL AND manifest IS NOT NULL AND succeeded_at IS NOT NULL))
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX report_run_file ON report_run (account_id, livemode, file) WHERE file IS NOT NULL;
CREATE INDEX report_run_pending ON report_run (created_at, account_id, id) WHERE status = 'pending';
