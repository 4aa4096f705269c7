-- due_closes
-- Attempts whose close request is due and that nobody holds, the longest due first; read without locks.
SELECT a.merchant_id, a.order_id, a.number, a.generation
  FROM attempt a
 WHERE a.due_at <= $1::timestamptz
   AND a.close_reason IS NOT NULL
   AND (a.lease_until IS NULL OR a.lease_until <= $1::timestamptz)
 ORDER BY a.due_at, a.merchant_id, a.order_id, a.number
 LIMIT $2::int;

-- take_closes
-- Take the lease of close requests that the caller saw as due; those that someone else took meanwhile are not returned.
UPDATE attempt a
   SET lease_until = $2::timestamptz, generation = a.generation + 1, tries = a.tries + 1
  FROM unnest($3::text[], $4::text[], $5::int[], $6::int[]) AS seen(merchant_id, order_id, number, generation)
 WHERE (a.merchant_id, a.order_id, a.number, a.generation) = (seen.merchant_id, seen.order_id, seen.number, seen.generation)
   AND a.due_at <= $1::timestamptz
   AND a.state IN ('open', 'authorised')
RETURNING a.merchant_id, a.order_id, a.number, a.generation, a.tries, a.connection_id, a.checkout_session, a.close_number;

-- reschedule
-- Let go of close requests that came to nothing this time: due again later, under a fresh key where the gateway said no. An
-- attempt that has ended, or that someone else holds by now, is left alone.
UPDATE attempt a
   SET due_at = held.due_at, lease_until = NULL, close_number = a.close_number + held.close_step
  FROM unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::timestamptz[], $6::int[])
       AS held(merchant_id, order_id, number, generation, due_at, close_step)
 WHERE (a.merchant_id, a.order_id, a.number, a.generation) = (held.merchant_id, held.order_id, held.number, held.generation)
   AND a.state IN ('open', 'authorised');
