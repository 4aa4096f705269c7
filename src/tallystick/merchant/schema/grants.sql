-- Who may do what in the merchant service's database: the one place. RULES §12, docs/database-roles.md.
--
-- `tallystick database migrate` takes away whatever these roles and PUBLIC have and grants this, in one transaction. Every table
-- stands here, and no role may do more than its statements need: tests/test_database_roles.py says what is missing or too much.
-- Nobody may TRUNCATE, and nobody but the owner may change a table. A privilege that statements no longer need goes a release later
-- than they do, because the version before still runs meanwhile.

GRANT USAGE ON SCHEMA public TO tallystick_merchant;
GRANT SELECT ON schema_version TO tallystick_merchant;

-- Append-only: what happened is neither changed nor taken back.
GRANT SELECT, INSERT ON timeline, message, delivery_attempt, settlement_file, settled_early TO tallystick_merchant;
GRANT SELECT, INSERT ON audit_entry, audit_outcome TO tallystick_merchant;
GRANT INSERT ON audit TO tallystick_merchant;

-- Written once, but for the column that says what became of the row.
GRANT SELECT, INSERT, UPDATE (revoked_at) ON api_key, operator_key TO tallystick_merchant;
GRANT SELECT, INSERT, UPDATE (role, disabled_at, password_hash) ON operator_user TO tallystick_merchant;
GRANT SELECT, INSERT, UPDATE (state, decided_by, decided_at) ON case_proposal TO tallystick_merchant;

-- What changes as it goes on, and stays.
GRANT SELECT, INSERT, UPDATE ON merchant, connection, connection_watch, orders, attempt, inbox, errand, refund, cases,
    reconciliation, mismatch, notification_endpoint, delivery, endpoint_health, redrive, sandbox_clock, alert, alert_gauge TO tallystick_merchant;
GRANT SELECT, INSERT, UPDATE, DELETE ON fee_contract TO tallystick_merchant;

-- What has done its service and goes; of a dry run, the lines that it read.
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_key, dead_letter_alert, heartbeat, alert_count TO tallystick_merchant;
GRANT SELECT, INSERT, UPDATE (code), DELETE ON settlement_line TO tallystick_merchant;
GRANT SELECT, INSERT, UPDATE (seen_at), DELETE ON operator_session TO tallystick_merchant;
GRANT SELECT, INSERT, UPDATE, DELETE ON operator_second_factor, login_failure TO tallystick_merchant;
GRANT SELECT, INSERT, UPDATE (seen_at) ON operator_place TO tallystick_merchant;
GRANT SELECT, INSERT, DELETE ON settlement_upload, settlement_difference TO tallystick_merchant;

-- Personal data: who asks the policy connects as tallystick_pii, and sees nothing else. Who looked is never forgotten. Whoever stores a
-- person and whoever writes the order that names them meet in the table newcomer, which knows ids alone.
GRANT USAGE ON SCHEMA pii, public TO tallystick_pii;
GRANT SELECT, INSERT, UPDATE (due_at), DELETE ON newcomer TO tallystick_pii;
GRANT SELECT, UPDATE (due_at) ON newcomer TO tallystick_merchant;
GRANT SELECT, INSERT, UPDATE, DELETE ON pii.customer TO tallystick_pii;
GRANT SELECT, INSERT, UPDATE (wrapped_by), DELETE ON pii.subject_key TO tallystick_pii;
GRANT SELECT, INSERT, DELETE ON pii.lookup TO tallystick_pii;
GRANT SELECT, INSERT ON pii.access TO tallystick_pii;

-- People and tools that look. Not for them: keys, signing secrets, stored answers, webhooks as they came, personal data.
GRANT USAGE ON SCHEMA public TO tallystick_reader;
GRANT SELECT ON schema_version, connection, connection_watch, orders, attempt, timeline, errand, refund, cases, case_proposal, audit,
    reconciliation, settlement_file, settlement_line, settlement_difference, settled_early, mismatch, fee_contract, message, delivery,
    delivery_attempt, endpoint_health, dead_letter_alert, redrive, sandbox_clock, audit_entry, audit_outcome, heartbeat, alert,
    alert_count, alert_gauge, newcomer TO tallystick_reader;
GRANT SELECT (merchant_id, name, return_origins, late_policy, stock_url, created_at) ON merchant TO tallystick_reader;
GRANT SELECT (merchant_id, connection_id, event_id, type, order_id, state, error, tries, due_at, received_at) ON inbox TO tallystick_reader;
GRANT SELECT (merchant_id, endpoint_id, url, status, enabled_events, created_at, deleted_at) ON notification_endpoint
    TO tallystick_reader;
