-- read_sandbox_clock
-- How far the sandbox's time is ahead of the machine's, how far it is to get, and in what steps.
SELECT c.offset_ms, c.target_ms, c.step_ms
  FROM sandbox_clock c
 WHERE c.id = 1;

-- raise_sandbox_target
-- Ask for the sandbox's time to move forward by so much more.
INSERT INTO sandbox_clock AS c (id, offset_ms, target_ms, step_ms)
VALUES (1, 0, $1::bigint, $2::bigint)
    ON CONFLICT (id) DO UPDATE SET target_ms = c.target_ms + excluded.target_ms, step_ms = excluded.step_ms;

-- move_sandbox_clock
-- Take one step, unless another process took one meanwhile.
UPDATE sandbox_clock c
   SET offset_ms = $2::bigint
 WHERE c.id = 1 AND c.offset_ms = $1::bigint;
