-- charges_made
-- Charges made within a window, by their state now.
SELECT c.state, count(*) AS value
  FROM charge c
 WHERE c.created_at >= $1::timestamptz AND c.created_at < $2::timestamptz
 GROUP BY c.state
 ORDER BY c.state;

-- charges_by_hour
-- Charges made between two times, by the hour after the first in which they were, and their state now.
SELECT date_bin('1 hour', c.created_at, $1::timestamptz) AS hour, c.state, count(*) AS count
  FROM charge c
 WHERE c.created_at >= $1::timestamptz AND c.created_at < $2::timestamptz
 GROUP BY 1, 2
 ORDER BY 1, 2;

-- unknown_outcomes
-- How many charges and requests there are of which nobody knows what the bank did.
SELECT (SELECT count(*) FROM charge c
         WHERE c.state IN ('created', 'sent', 'unknown') AND c.state = 'unknown' AND c.created_at <= $1::timestamptz)
     + (SELECT count(*) FROM acquirer_request r
         WHERE r.state IN ('created', 'sent', 'unknown') AND r.state = 'unknown' AND r.created_at <= $1::timestamptz) AS value;

-- unknown_oldest
-- Seconds since the oldest of these was begun; 0 when there is none.
SELECT greatest(0, coalesce(extract(epoch FROM $1::timestamptz - min(u.created_at)), 0)) AS value
  FROM (SELECT c.created_at FROM charge c WHERE c.state IN ('created', 'sent', 'unknown') AND c.state = 'unknown'
        UNION ALL
        SELECT r.created_at FROM acquirer_request r WHERE r.state IN ('created', 'sent', 'unknown') AND r.state = 'unknown') AS u;

-- work_overdue
-- Seconds for which the oldest due work of each kind waits; 0 when none does. What a person decides is due at infinity: left out.
SELECT w.work, greatest(0, coalesce(extract(epoch FROM $1::timestamptz - w.due_at), 0)) AS value
  FROM (VALUES ('sessions', (SELECT s.expires_at FROM checkout_session s WHERE s.status = 'open' ORDER BY s.expires_at LIMIT 1)),
               ('charges', (SELECT coalesce(c.due_at, c.created_at) FROM charge c WHERE c.state IN ('created', 'sent', 'unknown')
                                AND coalesce(c.due_at, c.created_at) < timestamptz 'infinity'
                             ORDER BY coalesce(c.due_at, c.created_at) LIMIT 1)),
               ('requests', (SELECT coalesce(r.due_at, r.created_at) FROM acquirer_request r
                              WHERE r.state IN ('created', 'sent', 'unknown')
                                 AND coalesce(r.due_at, r.created_at) < timestamptz 'infinity'
                              ORDER BY coalesce(r.due_at, r.created_at) LIMIT 1)),
               ('days', (SELECT b.close_at FROM balance_account b WHERE b.close_at IS NOT NULL ORDER BY b.close_at LIMIT 1)),
               ('payouts', (SELECT p.arrival_at FROM payout p WHERE p.status = 'pending' ORDER BY p.arrival_at LIMIT 1)),
               ('reports', (SELECT r.created_at FROM report_run r WHERE r.status = 'pending' ORDER BY r.created_at LIMIT 1)))
       AS w(work, due_at)
 ORDER BY w.work;

-- cases_open
-- Cases that wait for a person, by kind.
SELECT c.kind, count(*) AS value FROM cases c
 WHERE c.state = 'open' AND c.opened_at <= $1::timestamptz GROUP BY c.kind ORDER BY c.kind;
