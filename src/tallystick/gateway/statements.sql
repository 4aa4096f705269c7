-- ready
-- Does the database answer, and has it a schema?
SELECT account_id FROM account WHERE false;

-- pending
-- What the sandbox's time waits for: whether something is due and not done yet, else when the next thing will be. The earliest of
-- every kind of work is enough.
SELECT coalesce(bool_or(due.due_at <= $1::timestamptz), false) AS busy, min(due.due_at) AS next_due_at
  FROM ((SELECT d.due_at
           FROM delivery d
           LEFT JOIN endpoint_health h ON (h.owner_id, h.livemode, h.endpoint) = (d.owner_id, d.livemode, d.endpoint)
          WHERE d.state = 'due' AND (h.slowed_until IS NULL OR h.slowed_until <= $1::timestamptz)
          ORDER BY d.due_at LIMIT 1)
        UNION ALL
        (SELECT h.slowed_until FROM endpoint_health h WHERE h.slowed_until > $1::timestamptz ORDER BY h.slowed_until LIMIT 1)
        UNION ALL
        (SELECT r.due_at FROM redrive r WHERE r.state = 'running' ORDER BY r.due_at LIMIT 1)
        UNION ALL
        (SELECT h.keep_at FROM endpoint_health h WHERE h.keep_at IS NOT NULL ORDER BY h.keep_at LIMIT 1)
        UNION ALL
        (SELECT s.expires_at FROM checkout_session s WHERE s.status = 'open' ORDER BY s.expires_at LIMIT 1)
        UNION ALL
        (SELECT coalesce(c.due_at, c.created_at) FROM charge c WHERE c.state IN ('created', 'sent', 'unknown')
          ORDER BY coalesce(c.due_at, c.created_at) LIMIT 1)
        UNION ALL
        (SELECT coalesce(r.due_at, r.created_at) FROM acquirer_request r WHERE r.state IN ('created', 'sent', 'unknown')
          ORDER BY coalesce(r.due_at, r.created_at) LIMIT 1)
        UNION ALL
        (SELECT b.close_at FROM balance_account b WHERE b.close_at IS NOT NULL ORDER BY b.close_at LIMIT 1)
        UNION ALL
        (SELECT p.arrival_at FROM payout p WHERE p.status = 'pending' ORDER BY p.arrival_at LIMIT 1)
        UNION ALL
        (SELECT r.created_at FROM report_run r WHERE r.status = 'pending' ORDER BY r.created_at LIMIT 1)
        UNION ALL
        (SELECT d.contest_due_at FROM dispute d WHERE d.contest_due_at IS NOT NULL ORDER BY d.contest_due_at LIMIT 1)
        UNION ALL
        (SELECT o.tells_at FROM simulated_operation o WHERE o.tells_at IS NOT NULL ORDER BY o.tells_at LIMIT 1)) AS due;
