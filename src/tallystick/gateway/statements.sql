-- ready
-- Does the database answer, and has it a schema?
SELECT account_id FROM account WHERE false;

-- pending
-- What the sandbox's time waits for: whether something is due and not done yet, else when the next thing will be. The earliest of
-- every kind of work is enough.
SELECT coalesce(bool_or(due.due_at <= $1::timestamptz), false) AS busy, min(due.due_at) AS next_due_at
  FROM ((SELECT d.due_at FROM delivery d WHERE d.state = 'due' ORDER BY d.due_at LIMIT 1)
        UNION ALL
        (SELECT s.expires_at FROM checkout_session s WHERE s.status = 'open' ORDER BY s.expires_at LIMIT 1)
        UNION ALL
        (SELECT coalesce(c.due_at, c.created_at) FROM charge c WHERE c.state IN ('created', 'sent', 'unknown')
          ORDER BY coalesce(c.due_at, c.created_at) LIMIT 1)
        UNION ALL
        (SELECT coalesce(r.due_at, r.created_at) FROM acquirer_request r WHERE r.state IN ('created', 'sent', 'unknown')
          ORDER BY coalesce(r.due_at, r.created_at) LIMIT 1)
        UNION ALL
        (SELECT o.tells_at FROM simulated_operation o WHERE o.tells_at IS NOT NULL ORDER BY o.tells_at LIMIT 1)) AS due;
