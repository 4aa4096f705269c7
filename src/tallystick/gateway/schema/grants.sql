-- Who may do what in the gateway's database: the one place. RULES §12, docs/database-roles.md.
--
-- `tallystick database migrate` takes away whatever these roles and PUBLIC have and grants this, in one transaction. Every table
-- stands here, and no role may do more than its statements need: tests/test_database_roles.py says what is missing or too much.
-- Nobody may TRUNCATE, and nobody but the owner may change a table. A privilege that statements no longer need goes a release later
-- than they do, because the version before still runs meanwhile.

GRANT USAGE ON SCHEMA public TO tallystick_gateway;
GRANT EXECUTE ON FUNCTION ledger_sum, ledger_sum_of TO tallystick_gateway;
GRANT SELECT ON schema_version TO tallystick_gateway;

-- Append-only: what happened is neither changed nor taken back.
GRANT SELECT, INSERT ON ledger_transaction, event, message, delivery_attempt, settlement_report, outcome_resolution TO tallystick_gateway;
GRANT SELECT, INSERT ON audit_entry, audit_outcome TO tallystick_gateway;

-- Written once, but for the column that says what became of the row.
GRANT SELECT, INSERT, UPDATE (payout) ON settlement_line, balance_release TO tallystick_gateway;
GRANT SELECT, INSERT, UPDATE (status) ON payout TO tallystick_gateway;
GRANT SELECT, INSERT, UPDATE (customer, attached_at, single_use) ON payment_method TO tallystick_gateway;
GRANT SELECT, INSERT, UPDATE (revoked_at) ON api_key, operator_key TO tallystick_gateway;
GRANT SELECT, INSERT, UPDATE (role, disabled_at, password_hash) ON operator_user TO tallystick_gateway;

-- What changes as it goes on, and stays.
GRANT SELECT, INSERT, UPDATE ON account, payment_intent, checkout_session, charge, acquirer_request, refund, dispute, cases,
    balance_account, report_run, webhook_endpoint, delivery, endpoint_health, redrive TO tallystick_gateway;
GRANT SELECT, INSERT, UPDATE ON simulated_authentication, simulated_operation, sandbox_clock, alert, alert_gauge TO tallystick_gateway;

-- What has done its service and goes.
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_key, dead_letter_alert, heartbeat, alert_count, fault TO tallystick_gateway;
GRANT SELECT, INSERT, UPDATE (seen_at), DELETE ON operator_session TO tallystick_gateway;
GRANT SELECT, INSERT, UPDATE, DELETE ON operator_second_factor, login_failure TO tallystick_gateway;
GRANT SELECT, INSERT, UPDATE (tries, declines), DELETE ON payment_tries TO tallystick_gateway;
GRANT SELECT, INSERT, DELETE ON charge_address TO tallystick_gateway;
GRANT SELECT, INSERT, UPDATE (seen_at) ON operator_place TO tallystick_gateway;

-- Card numbers, each sealed under a key of its own that only the key-encryption key opens. Nobody else sees this schema, and who
-- does sees nothing else.
GRANT USAGE ON SCHEMA vault TO tallystick_vault;
GRANT SELECT, INSERT, UPDATE (due_at, data_key, key_version), DELETE ON vault.card TO tallystick_vault;

-- Who may come back. What tells who they are: who asks the policy connects as tallystick_gateway_pii, and sees nothing else. Who looked is
-- never forgotten. The version before wrote customer_detail as the gateway.
GRANT SELECT, INSERT, UPDATE ON customer TO tallystick_gateway;
GRANT USAGE ON SCHEMA pii TO tallystick_gateway, tallystick_gateway_pii;
GRANT SELECT, INSERT, UPDATE, DELETE ON pii.customer_detail TO tallystick_gateway;
GRANT SELECT, UPDATE, DELETE ON pii.customer_detail TO tallystick_gateway_pii;
GRANT SELECT, INSERT, UPDATE, DELETE ON pii.customer TO tallystick_gateway_pii;
GRANT SELECT, INSERT, UPDATE (wrapped_key, wrapped_by), DELETE ON pii.subject_key TO tallystick_gateway_pii;
GRANT SELECT, INSERT, DELETE ON pii.lookup TO tallystick_gateway_pii;
GRANT SELECT, INSERT ON pii.access TO tallystick_gateway_pii;

-- People and tools that look. Not for them: keys, passwords and sessions, signing secrets, stored answers.
GRANT USAGE ON SCHEMA public TO tallystick_reader;
GRANT SELECT ON schema_version, account, payment_intent, checkout_session, charge, acquirer_request, refund, dispute,
    cases, outcome_resolution, ledger_transaction, balance_account, balance_release, payout, settlement_line, settlement_report,
    report_run, event, message, delivery, delivery_attempt, endpoint_health, dead_letter_alert, redrive, fault, sandbox_clock,
    simulated_authentication, simulated_operation, customer, audit_entry, audit_outcome, heartbeat, alert,
    alert_count, alert_gauge TO tallystick_reader;
GRANT SELECT (account_id, livemode, id, card_reference, brand, first6, last4, exp_month, exp_year, fingerprint, authentication_required,
    metadata, created_at, customer, attached_at, single_use) ON payment_method TO tallystick_reader;
GRANT SELECT (account_id, livemode, id, url, status, enabled_events, api_version, description, metadata, retry_delays_s, created_at,
    deleted_at) ON webhook_endpoint TO tallystick_reader;
