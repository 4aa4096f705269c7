-- The sandbox's time: how far it is ahead of the machine's in every process, and how far it is to get. No row: it was never moved.
CREATE TABLE sandbox_clock (
    id        int PRIMARY KEY CHECK (id = 1),
    offset_ms bigint NOT NULL CHECK (offset_ms >= 0),
    target_ms bigint NOT NULL,
    step_ms   bigint NOT NULL CHECK (step_ms > 0),
    CHECK (target_ms >= offset_ms)
);
