-- due_errands
-- What is to be done outside about orders and that nobody is at, the longest due first; read without locks.
SELECT e.merchant_id, e.order_id, e.kind, e.attempt, e.generation
  FROM errand e
 WHERE e.due_at <= $1::timestamptz AND (e.lease_until IS NULL OR e.lease_until <= $1::timestamptz)
 ORDER BY e.due_at, e.merchant_id, e.order_id, e.kind, e.attempt
 LIMIT $2::int;

-- take_errands
-- Take the lease of errands, each with the trace in which its attempt was opened; those that someone else took meanwhile have another
-- generation.
UPDATE errand e
   SET lease_until = $1::timestamptz, generation = e.generation + 1, tries = e.tries + 1
  FROM unnest($2::text[], $3::text[], $4::text[], $5::int[], $6::int[]) AS seen(merchant_id, order_id, kind, attempt, generation)
  JOIN merchant m ON m.merchant_id = seen.merchant_id
 WHERE (e.merchant_id, e.order_id, e.kind, e.attempt, e.generation)
       = (seen.merchant_id, seen.order_id, seen.kind, seen.attempt, seen.generation)
RETURNING e.merchant_id, e.order_id, e.kind, e.attempt, e.generation, e.tries, e.created_at, m.late_policy, m.stock_url,
          m.stock_secret, (SELECT a.trace FROM attempt a
                            WHERE (a.merchant_id, a.order_id, a.number) = (e.merchant_id, e.order_id, e.attempt)) AS trace;

-- settle_errands
-- Write down what became of errands: due again at a time, or done where that is null. A holder whose lease was taken over writes
-- nothing.
UPDATE errand e
   SET due_at = held.due_at, lease_until = NULL
  FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::int[], $6::timestamptz[])
       AS held(merchant_id, order_id, kind, attempt, generation, due_at)
 WHERE (e.merchant_id, e.order_id, e.kind, e.attempt, e.generation)
       = (held.merchant_id, held.order_id, held.kind, held.attempt, held.generation);
