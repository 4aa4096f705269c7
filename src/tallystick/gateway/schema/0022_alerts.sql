-- Where no Prometheus looks, the service judges its alerts itself (RULES §13, docs/monitoring.md).

-- An alert: a rule, and what it is about. Whoever judges, people are told once.
CREATE TABLE alert (
    name     text COLLATE "C" NOT NULL,             -- of the rule (kernel/monitoring/rules.py)
    about    text COLLATE "C" NOT NULL,             -- which of several: work=attempts; mostly empty
    severity text NOT NULL CHECK (severity IN ('page', 'ticket')),
    state    text NOT NULL CHECK (state IN ('quiet', 'pending', 'firing')),
    since_at timestamptz NOT NULL,                  -- when it became that
    clear_at timestamptz,                           -- while it fires: since when it is not true any more
    fired_at timestamptz,                           -- the last time
    ended_at timestamptz,
    tell_at  timestamptz,                           -- when people are to be told of it; null: they were
    tries    int NOT NULL DEFAULT 0 CHECK (tries >= 0), -- to tell them
    PRIMARY KEY (name, about),
    CHECK (state <> 'firing' OR fired_at IS NOT NULL)
);
CREATE INDEX alert_untold ON alert (tell_at) WHERE tell_at IS NOT NULL;

-- What the processes counted, all together, as far as rules look back.
CREATE TABLE alert_count (
    metric    text COLLATE "C" NOT NULL,
    bucket_at timestamptz NOT NULL,                 -- when its minute began
    labels    text COLLATE "C" NOT NULL,            -- result=stored
    amount    bigint NOT NULL CHECK (amount > 0),
    PRIMARY KEY (metric, bucket_at, labels)
);

-- What only processes know, as it was last found.
CREATE TABLE alert_gauge (
    metric  text COLLATE "C" NOT NULL,
    labels  text COLLATE "C" NOT NULL,
    value   bigint NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (metric, labels)
);
